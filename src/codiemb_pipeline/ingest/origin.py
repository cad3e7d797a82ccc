"""Where a source lies and how it is read: parameters and registry put together, hub data sets fetched, files found.

Nothing is fetched unless the registry confirms it, at the revision it pins. Knows nothing of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.ingest.files import read_rows
from codiemb_pipeline.ingest.layouts import READY_MADE, Pairs, Rows, Table, Tables
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES, TrainingSource
from codiemb_pipeline.ingest.rows import Ledger
from codiemb_pipeline.locations import resolve
from codiemb_pipeline.params.ingest import PairColumns, SourceParams, SplitShares
from codiemb_pipeline.schema import Task

READY_MADE_WORDS = "or a file (.jsonl, .jsonl.gz or .parquet) with query, positive and negative, texts in lists"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source as the readers need it, whether params.yaml or the registry describes it.

    Attributes are those of ``SourceParams``, and:
        reader: one of its readers, or ``tables`` or ``rows`` of a registered source.
        path: how messages call it.
        declared: what the registry says, ``None`` for a source that is not registered.
        rows: columns of rows that hold a query and its documents, for reader ``rows``.
    """

    task: Task
    reader: str
    path: str
    splits: SplitShares | None
    score_range: tuple[float, float] | None = None
    columns: PairColumns | None = None
    documents_per_query: tuple[int, int] | None = None
    limit: int | None = None
    named_negatives: int | None = None
    declared: TrainingSource | None = None
    rows: Rows | None = None


def resolved(name: str, params: SourceParams) -> Source:
    """Return source ``name`` as described by its parameters or by the registry; looks at no file.

    Raises:
        InputError: a parameter does not fit the task of a registered source.
    """
    given = {field: getattr(params, field) for field in ("splits", "documents_per_query", "limit", "named_negatives")}
    if params.registered is None:
        described = {field: getattr(params, field) for field in ("task", "reader", "path", "score_range", "columns")}
        return Source(**described, **given)
    declared = TRAINING_SOURCES[params.registered]
    layout = declared.layout
    for field in ("documents_per_query", "named_negatives"):
        if declared.task == "sts" and given[field] is not None:
            raise InputError(f"params.yaml: ingest.sources.{name}.{field}: is for task 'ir'; found {given[field]!r}")
    pairs = isinstance(layout, Pairs)
    return Source(
        task=declared.task,
        reader="pairs" if pairs else "tables" if isinstance(layout, Tables) else "rows",
        path=params.path or f"{declared.hub_id}@{(declared.revision or '')[:8]}",
        score_range=layout.score_range if pairs else None,
        columns=layout.columns if pairs else None,
        declared=declared,
        rows=layout if isinstance(layout, Rows) else None,
        **given,
    )


def locate(name: str, params: SourceParams) -> tuple[Source, Path]:
    """Return source ``name`` and the file or folder it is read from, fetched from the hub where ``path`` is null.

    Raises:
        InputError: nothing lies there, the registry does not confirm what would be fetched, or the hub fails.
    """
    source = resolved(name, params)
    if params.path is None:
        path = _fetch(name, params.registered, source.declared)
    else:
        path = resolve(params.path, field=f"ingest.sources.{name}.path")
    if source.declared is None or source.task == "sts":
        return source, path
    if path.is_file() and (source.reader == "tables" or _is_ready_made(source, path)):
        return replace(source, reader="rows", rows=READY_MADE), path
    if path.is_dir() and source.reader == "rows":
        (path,), shown_path = files_of(source, path, Table(file=source.rows.file, columns=()))
        return replace(source, path=shown_path), path
    return source, path


def files_of(source: Source, folder: Path, table: Table) -> tuple[list[Path], str]:
    """Return the files of a table in the order of their names, and how messages call them.

    Raises:
        InputError: there is none, or several where one is expected.
    """
    found = find(source, folder, (table.file,))
    name = f"{source.path}/{table.file}"
    if not found:
        raise InputError(f"{name}: expected a file, found none; looked for {expected(source.declared)} at {folder}")
    if len(found) > 1 and not table.parts:
        raise InputError(f"{name}: expected one file, found {', '.join(file.name for file in found)}")
    return found, name if len(found) > 1 else f"{source.path}/{found[0].relative_to(folder).as_posix()}"


def find(source: Source, folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return what the first of ``patterns`` has a match, by name, in ``folder`` or as at the origin."""
    inside = dict.fromkeys(["", *(str(PurePosixPath(f"{pattern}*").parent) for pattern in source.declared.fetch)])
    for pattern in patterns:
        for place in inside:
            found = sorted(file for file in (folder / place).glob(pattern) if file.is_file())
            if found:
                return found
    return []


def expected(declared: TrainingSource) -> str:
    """Return the files of a source in words, with their columns."""
    layout = declared.layout
    if isinstance(layout, Pairs):
        named = f"{layout.columns.text_a}, {layout.columns.text_b}, {layout.columns.score}"
        return f"a training file ({', '.join(layout.train)}) with {named}"
    if isinstance(layout, Rows):
        return f"{layout.file} with {layout.query}, {layout.positive}, {layout.negative}, {READY_MADE_WORDS}"
    columns: dict[str, list[str]] = {}
    for table in (layout.corpus, layout.queries, layout.relevant, layout.negative, layout.grades):
        if table is not None:
            columns.setdefault(table.file, []).extend(table.columns)
    files = [f"{file} ({', '.join(dict.fromkeys(names))})" for file, names in columns.items()]
    return f"a folder with {', '.join(files)}, {READY_MADE_WORDS}"


def _is_ready_made(source: Source, path: Path) -> bool:
    """Return whether the first row of a file has the columns of a ready-made copy, and not the origin's."""
    _, row = next(read_rows(path, source.path, Ledger(""), []), (0, {}))
    return READY_MADE.positive in row and source.rows.positive not in row


def _fetch(name: str, registered: str, declared: TrainingSource) -> Path:
    """Return the folder of the hub's snapshot.

    Raises:
        InputError: it is not on the hub, not confirmed, or can't be had.
    """
    where = f"params.yaml: ingest.sources.{name}.path"
    by_hand = f"put its files into a folder and set path to it: {expected(declared)}"
    if declared.github is not None:
        clone = f"git clone https://github.com/{declared.github} and check out {declared.revision}"
        raise InputError(f"{where}: {registered!r} is not on the hub; {clone}, then {by_hand}. {declared.note}")
    if not declared.confirmed or declared.revision is None:
        at = f", revision {declared.revision}" if declared.revision else ""
        origin = f"{declared.hub_id}{at}"
        raise InputError(
            f"{where}: {registered!r} ({origin}) is not confirmed, so null fetches nothing. Known of it: "
            f"{declared.note} Fetch it yourself, {by_hand}"
        )
    from huggingface_hub import snapshot_download

    try:
        patterns = list(declared.fetch)
        return Path(
            snapshot_download(declared.hub_id, repo_type="dataset", revision=declared.revision, allow_patterns=patterns)
        )
    except Exception as error:
        raise InputError(
            f"{where}: the hub did not give {declared.hub_id} at {declared.revision}: {first_line(error)}; without a "
            f"network, {by_hand}"
        ) from error
