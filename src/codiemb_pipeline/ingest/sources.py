"""Where the files of a source are: below its path, or in a snapshot of the hub at the revision of the registry."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.ingest.files import read_batches
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES, Pairs, Rows, Table, Tables, TrainingSource
from codiemb_pipeline.ingest.validation import RejectLog
from codiemb_pipeline.locations import resolve
from codiemb_pipeline.params.ingest import PairColumns, SourceParams

# A ready-made copy, as in BeastyZ/cmteb_retrieval: each registered retrieval source may be read from one.
READY_MADE = Rows()
FLAG_EMBEDDING = Rows(positive="pos", negative="neg")
READY_MADE_WORDS = "or a file (.jsonl, .jsonl.gz or .parquet) with query, positive and negative, texts in lists"
WORD_COLUMNS = PairColumns(text_a="word 1", text_b="word 2", score="score")


@dataclass(frozen=True)
class SourceFiles:
    """A source and its files.

    Attributes:
        params: its entry in params.yaml.
        path: its file or folder, which messages call ``shown``.
        layout: its format; ``None`` for readers that know it themselves.
        declared: its entry in the registry; ``None`` where it is not registered.
    """

    params: SourceParams
    path: Path
    shown: str
    layout: Tables | Rows | Pairs | None
    declared: TrainingSource | None = None

    def find(self, patterns: tuple[str, ...]) -> list[Path]:
        """Return the matches of the first of ``patterns`` that has any, in the folder or where the origin has them."""
        origin = [str(PurePosixPath(f"{pattern}*").parent) for pattern in self.declared.fetch]
        for pattern in patterns:
            for folder in dict.fromkeys(["", *origin]):
                found = sorted(file for file in (self.path / folder).glob(pattern) if file.is_file())
                if found:
                    return found
        return []

    def table(self, table: Table | Rows) -> tuple[list[Path], str]:
        """Return the files of a table in the order of their names, and what messages call them.

        Raises:
            InputError: there is none, or several where one is expected.
        """
        found = self.find((table.file,))
        name = f"{self.shown}/{table.file}"
        if not found:
            looked_for = expected_files(self.declared)
            raise InputError(f"{name}: expected a file, found none; looked for {looked_for} at {self.path}")
        if len(found) == 1:
            return found, f"{self.shown}/{found[0].relative_to(self.path).as_posix()}"
        if not getattr(table, "parts", False):
            raise InputError(f"{name}: expected one file, found {', '.join(file.name for file in found)}")
        return found, name


def locate(name: str, params: SourceParams) -> SourceFiles:
    """Return the files of source ``name``, fetched from the hub where ``path`` is null.

    Raises:
        InputError: nothing is there, the registry does not confirm what would be fetched, or the hub fails.
    """
    declared = TRAINING_SOURCES.get(params.registered)
    if params.path is None:
        path, shown = _fetch(name, params.registered, declared), f"{declared.hub_id}@{declared.revision[:8]}"
    else:
        path, shown = resolve(params.path, field=f"ingest.sources.{name}.path"), params.path
    layout = declared.layout if declared is not None else _layout_of(params)
    if declared is not None and path.is_file() and _is_ready_made(layout, path, shown):
        layout = READY_MADE
    return SourceFiles(params, path, shown, layout, declared)


def _is_ready_made(layout: Tables | Rows | Pairs, path: Path, shown: str) -> bool:
    """Return whether a file in place of a folder is a ready-made copy: by its first row where rows are expected."""
    if not isinstance(layout, Rows):
        return isinstance(layout, Tables)
    first = next(read_batches([path], shown, RejectLog(""), [], optional=(READY_MADE.positive, layout.positive)))
    copied, own = (first.columns[column] for column in (READY_MADE.positive, layout.positive))
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


def _fetch(name: str, registered: str, declared: TrainingSource) -> Path:
    """Return the folder of the hub's snapshot; InputError where there is none, or the registry is not sure of it."""
    where = f"params.yaml: ingest.sources.{name}.path"
    by_hand = f"put its files into a folder and set path to it: {expected_files(declared)}"
    if declared.github is not None:
        clone = f"git clone https://github.com/{declared.github} and check out {declared.revision}"
        raise InputError(f"{where}: {registered!r} is not on the hub; {clone}, then {by_hand}. {declared.note}")
    if not declared.confirmed or declared.revision is None:
        origin = declared.hub_id + (f", revision {declared.revision}" if declared.revision else "")
        raise InputError(
            f"{where}: {registered!r} ({origin}) is not confirmed, so null fetches nothing. Known of it: "
            f"{declared.note} Fetch it yourself, {by_hand}"
        )
    files = Repository(declared.hub_id, "dataset", declared.revision, allow=declared.fetch)
    return files.fetch(field=f"ingest.sources.{name}.path", by_hand=by_hand)
