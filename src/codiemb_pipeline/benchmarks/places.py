"""Where a benchmark's data lies: the hub at the pinned revision, or a folder in the same layout. Reads no rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from codiemb_pipeline.benchmarks.registry import BenchmarkSpec, spec_of
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.locations import folder_digest, resolve

LAYOUTS = {
    "retrieval": "a README.md whose configs are corpus (_id, title, text), queries (_id, text) and default "
    "(query-id, corpus-id, score), each with split {split!r}, as parquet or jsonl",
    "sts": "columns sentence1, sentence2 and score in split {split!r}, as parquet or jsonl",
}


@dataclass(frozen=True)
class Place:
    """Where a benchmark is read from.

    Attributes:
        spec: the benchmark.
        folder: of the data set; ``None`` for the hub.
        stated: the commit a folder is known to be a copy of, or ``None``.
    """

    spec: BenchmarkSpec
    folder: Path | None
    stated: str | None = None

    @property
    def path(self) -> str:
        """The folder, or the id on the hub: what ``datasets`` and mteb call the path."""
        return str(self.folder or self.spec.hub_id)

    @cached_property
    def revision(self) -> str:
        """The pinned commit of the hub; of a folder what is stated, or ``local-`` and a digest of its files."""
        if self.folder is None:
            return self.spec.revision
        return self.stated or f"local-{folder_digest(self.folder)[:32]}"

    def unreadable(self, reason: object) -> InputError:
        """Return the error for data that can't be read or isn't what was expected."""
        name, field = self.spec.name, f"evaluate.benchmarks.{self.spec.name}.path"
        text = _described(reason) if isinstance(reason, BaseException) else str(reason)
        layout = LAYOUTS[self.spec.type].format(split=self.spec.split)
        if self.folder is not None:
            return InputError(f"params.yaml: {field}: benchmark {name}: expected {layout}; {self.folder}: {text}")
        offline = " (HF_HUB_OFFLINE is set: only what is in the cache can be read)" if _offline() else ""
        return InputError(
            f"benchmark {name}: cannot read data set {self.spec.hub_id} at revision {self.spec.revision} from the hub"
            f"{offline}: {text}. Without a network, set {field} in params.yaml to a folder that holds the data set: "
            f"{layout}"
        )


def place_of(name: str, path: str | None, stated: str | None = None) -> Place:
    """Return where benchmark ``name`` lies when params.yaml says ``path``, and ``stated`` of its revision.

    Raises:
        InputError: the folder does not exist, or a folder of the working directory would be taken for the hub.
    """
    spec = spec_of(name)
    field = f"evaluate.benchmarks.{name}.path"
    if path is None:
        if Path(spec.hub_id).exists():  # a folder of that name goes before the hub, without a word
            raise InputError(
                f"params.yaml: {field}: {Path(spec.hub_id).absolute()} would be read instead of the hub; "
                f"set the path to it, or move it away"
            )
        return Place(spec, None)
    folder = resolve(path, field=field).absolute()
    if not folder.is_dir():
        raise InputError(f"params.yaml: {field}: expected a folder, found a file at {folder}")
    return Place(spec, folder, stated)


def _described(error: BaseException) -> str:
    """Return an error's kind and first line, and those of its cause: ``datasets`` says little in the error itself."""
    text = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return f"{text} ({_described(error.__cause__)})" if error.__cause__ else text


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
