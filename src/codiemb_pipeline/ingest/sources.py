"""Where the files of a source are: below its path, or fetched from the repositories that the registry names."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path, PurePosixPath

from codiemb_pipeline.artifacts.base import SourceOrigin
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.ingest.files import read_batches
from codiemb_pipeline.ingest.folders import SPLIT_NAMES, by_meaning, matching, missing_shards, unpacked, unread
from codiemb_pipeline.ingest.github import fetch_files
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES, Origin, Pairs, Rows, Table, Tables, TrainingSource
from codiemb_pipeline.ingest.validation import RejectLog
from codiemb_pipeline.locations import file_sha256, resolve
from codiemb_pipeline.params.ingest import PairColumns, SourceParams
from codiemb_pipeline.schema import SPLITS

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.99
"""Of the rows that the registry states, those that a file must have."""
# A ready-made copy, as in BeastyZ/cmteb_retrieval: each registered retrieval source may be read from one.
READY_MADE = Rows(file="train-*.parquet", parts=True)
FLAG_EMBEDDING = Rows(positive="pos", negative="neg")
READY_MADE_WORDS = (
    "or a file (.jsonl, .jsonl.gz or .parquet), or a folder of train-*.parquet, with query, positive and negative, "
    "texts in lists"
)
WORD_COLUMNS = PairColumns(text_a="word 1", text_b="word 2", score="score")


@dataclass(frozen=True)
class SourceFiles:
    """A source and its files.

    Attributes:
        params: its entry in params.yaml.
        folders: its file or folders, by what messages call them; one for each repository that it was fetched from.
        layout: its format; ``None`` for readers that know it themselves.
        declared: its entry in the registry; ``None`` where it is not registered.
        origins: what was read of each repository of a registered source.
        as_registered: whether its files are those of the registered revisions, of which the numbers of rows are known.
    """

    params: SourceParams
    folders: dict[str, Path]
    layout: Tables | Rows | Pairs | None
    declared: TrainingSource | None = None
    origins: tuple[SourceOrigin, ...] = ()
    as_registered: bool = False

    @property
    def path(self) -> Path:
        """Its file or folder, the first where there are several."""
        return next(iter(self.folders.values()))

    @property
    def shown(self) -> str:
        """What messages call :attr:`path`."""
        return next(iter(self.folders))

    def find(self, patterns: tuple[str, ...]) -> dict[str, Path]:
        """Return the files that match the first of ``patterns`` that any does, sorted, by what messages call them.

        They lie in a folder itself, or where the origin has them; with the name of the pattern, or else compressed.

        Raises:
            InputError: one of them is not whole, or a shard is missing.
        """
        origins = self.declared.origins if self.declared is not None else ()
        inside = [PurePosixPath(file).parent.as_posix() for origin in origins for file in origin.files]
        for pattern, in_any_form in product(patterns, (False, True)):
            below, wanted = PurePosixPath(pattern).parent, PurePosixPath(pattern).name
            if in_any_form:
                wanted = unpacked(wanted)

            def is_wanted(name: str, wanted: str = wanted, in_any_form: bool = in_any_form) -> bool:
                return fnmatchcase(unpacked(name) if in_any_form else name, wanted)

            for (shown, folder), place in product(self.folders.items(), dict.fromkeys([".", *inside])):
                where = PurePosixPath(place) / below
                found = matching(folder / where, f"{shown}/{where.as_posix()}".removesuffix("/."), is_wanted)
                if found:
                    return {f"{shown}/{file.relative_to(folder).as_posix()}": file for file in found}
        return {}

    def unread(self, read: set[Path]) -> list[str]:
        """Return the files of the source's own folder that nobody read, or the shards beside the one that it is."""
        if self.params.path is None:
            return []
        if self.path.is_dir():
            return unread(self.path, read)
        return [name for names in missing_shards([self.path]).values() for name in names]

    def table(self, table: Table | Rows) -> tuple[list[Path], str]:
        """Return the files of a table in the order of their names, and what messages call them.

        Raises:
            InputError: there is none, or several where one is expected.
        """
        found = self.find((table.file,))
        name = " or ".join(f"{shown}/{table.file}" for shown in self.folders)
        if not found:
            looked_for, folders = expected_files(self.declared), " and ".join(map(str, self.folders.values()))
            raise InputError(f"{name}: expected a file, found none; looked for {looked_for} at {folders}")
        if len(found) > 1 and not table.parts:
            names = ", ".join(file.name for file in found.values())
            raise InputError(f"{name}: expected one file, found {names}")
        return list(found.values()), name_of(list(found))

    def least(self, rows: int | None) -> int:
        """Return the fewest rows that files may have of which the registry states ``rows``."""
        return math.ceil(LEAST_SHARE * rows) if self.as_registered and rows else 1


def own_files(source: SourceFiles) -> Iterator[tuple[list[Path], str, str | None, str]]:
    """Yield files, their name, split, and the beginning of their ids."""
    path = source.path
    if source.params.splits is not None:
        if path.is_dir():
            raise InputError(
                f"{source.shown}: expected a file, found a folder; splits: null reads a file for each split"
            )
        yield [path], source.shown, None, ""
        return
    found = by_meaning(path, source.shown, SPLIT_NAMES)
    if not found:
        there = ", ".join(unread(path, set())[:5]) if path.is_dir() else "no folder"
        expected = "splits is null: expected a folder with train, dev or test files"
        raise InputError(f"{source.shown}: {expected}, found {there or 'none'}")
    for split in SPLITS:
        for number, file in enumerate(found.get(split, [])):
            prefix = f"{split}-{number}-" if len(found[split]) > 1 else f"{split}-"
            yield [file], f"{source.shown}/{file.name}", split, prefix


def name_of(names: list[str]) -> str:
    """Return what messages call the parts of a table."""
    return names[0] + f" and {len(names) - 1} more" * (len(names) > 1)


def locate(name: str, params: SourceParams) -> SourceFiles:
    """Return the files of source ``name``, fetched from their origins where ``path`` is null.

    Raises:
        InputError: nothing is there, a revision is given for no repository of the source, an origin fails, or a file
            is not the registered one.
    """
    declared = TRAINING_SOURCES.get(params.registered)
    revisions = {} if declared is None else revisions_of(name, params, declared)
    if params.path is None:
        folders = {}
        for origin in declared.origins:
            folder = _fetched(name, origin, revisions[origin.id], declared)
            revisions[origin.id] = folder.name
            folders[f"{repository_of(origin)}@{folder.name[:8]}"] = folder
            _check_content(name, origin, folder)
    else:
        folders = {params.path: resolve(params.path, field=f"ingest.sources.{name}.path")}
    if declared is None:
        return SourceFiles(params, folders, _layout_of(params))
    origins = tuple(
        SourceOrigin(repository=repository_of(origin), revision=revisions.get(origin.id), licence=origin.licence)
        for origin in declared.origins
    )
    as_registered = all(revisions.get(origin.id) == origin.revision for origin in declared.origins)
    source = SourceFiles(params, folders, declared.layout, declared, origins, as_registered)
    return replace(source, layout=READY_MADE) if _is_ready_made(source) else source


def repository_of(origin: Origin) -> str:
    """Return what messages and results call a repository."""
    return origin.id if origin.host == "hub" else f"github.com/{origin.id}"


def revisions_of(name: str, params: SourceParams, declared: TrainingSource) -> dict[str, str]:
    """Return the revisions to read, by id of the repository: those asked for and, without ``path``, the registry's."""
    ids, asked = [origin.id for origin in declared.origins], params.revision or {}
    where = f"params.yaml: ingest.sources.{name}.revision"
    if isinstance(asked, str):
        if len(ids) > 1:
            raise InputError(f"{where}: expected one for each of {', '.join(ids)}, by these ids; found {asked!r}")
        asked = {ids[0]: asked}
    for unknown in asked.keys() - set(ids):
        raise InputError(f"{where}: no repository {unknown!r} of {params.registered!r}{nearest(unknown, ids)}")
    registered = {} if params.path is not None else {origin.id: origin.revision for origin in declared.origins}
    return registered | asked


def _is_ready_made(source: SourceFiles) -> bool:
    """Return whether files in place of the origin's are a ready-made copy.

    In a folder they are where the origin's are missing; a file is where the origin has several, or by its first row.
    """
    layout = source.layout
    if source.path.is_dir() and not isinstance(layout, Pairs):
        own = (layout.corpus if isinstance(layout, Tables) else layout).file
        return not source.find((own,)) and bool(sorted(source.path.glob(READY_MADE.file)))
    if not isinstance(layout, Rows):
        return isinstance(layout, Tables)
    columns = (READY_MADE.positive, layout.positive)
    first = next(read_batches([source.path], source.shown, RejectLog(""), [], optional=columns))
    copied, own = (first.columns[column] for column in columns)
    return len(copied) > 0 and copied[0] is not None and own[0] is None


def _layout_of(params: SourceParams) -> Rows | Pairs | None:
    """Return the format of a source that is not registered."""
    if params.task == "ir":
        return FLAG_EMBEDDING if params.reader == "flag_embedding" else None
    return Pairs(columns=params.columns if params.reader == "pairs" else WORD_COLUMNS, score_range=params.score_range)


def expected_files(declared: TrainingSource) -> str:
    """Return the files of a source in words, with their columns."""
    layout = declared.layout
    if isinstance(layout, Pairs):
        columns = layout.columns
        files = ", ".join(layout.train)
        return f"a training file ({files}) with {columns.text_a}, {columns.text_b}, {columns.score}"
    if isinstance(layout, Rows):
        return f"{layout.file} with {layout.query}, {layout.positive}, {layout.negative}, {READY_MADE_WORDS}"
    tables = (layout.corpus, layout.queries, layout.relevant, layout.negative, layout.grades)
    files = ", ".join(f"{table.file} ({', '.join(table.columns)})" for table in tables if table is not None)
    return f"a folder with {files}, {READY_MADE_WORDS}"


def _fetched(name: str, origin: Origin, revision: str, declared: TrainingSource) -> Path:
    """Return the folder of an origin's files at a revision, fetched or from the cache; its name is the commit."""
    logger.info("%s: %s at %s, about %s", name, repository_of(origin), revision, size_of(origin.size))
    field = f"ingest.sources.{name}.path"
    by_hand = f"put its files into a folder and set path to it: {expected_files(declared)}"
    if origin.host == "hub":
        return Repository(origin.id, "dataset", revision, allow=tuple(origin.files)).fetch(field=field, by_hand=by_hand)
    try:
        return fetch_files(origin.id, revision, origin.files)
    except InputError as error:
        where = f"params.yaml: {field}: GitHub did not give {origin.id} at {revision}"
        raise InputError(f"{where}: {error}; without a network, {by_hand}") from error


def _check_content(name: str, origin: Origin, folder: Path) -> None:
    """Raise InputError where a file of the registered revision is another than the registry knows it."""
    for file, expected in origin.sha256.items() if folder.name == origin.revision else ():
        path = folder / file
        if path.is_file() and (found := file_sha256(path)) != expected:
            raise InputError(
                f"source {name!r}: {repository_of(origin)}@{origin.revision[:8]}/{file}: expected SHA-256 "
                f"{expected[:16]}..., found {found[:16]}...; delete {path.resolve()} to fetch it again"
            )


def size_of(size: float) -> str:
    """Return bytes for messages."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.1f} MB"
