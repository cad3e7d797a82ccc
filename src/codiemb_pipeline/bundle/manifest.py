"""What a bundle holds, and the proof that it still does: every file with its size and SHA-256.

encoder/<files>  sources/<name>/<files>  benchmarks/<name>/<files>  manifest.json
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ValidationError

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json

MANIFEST = "manifest.json"


class BundledFile(BaseModel):
    """A file: its path in the folder of its entry, its size in bytes, and its SHA-256."""

    path: str
    bytes: int
    sha256: str


class Entry(BaseModel):
    """The encoder, a source or a benchmark.

    Attributes:
        kind: ``encoder``, ``source`` or ``benchmark``.
        name: as in params.yaml; ``encoder`` for the encoder.
        folder: in the bundle.
        place: the file in ``folder`` that is read; empty for the folder itself.
        asked: what params.yaml asked for. The bundle serves nothing else.
        hub_id, revision, licence: of the origin; ``None`` where it has or states none.
        files: in the order of their paths.
    """

    kind: str
    name: str
    folder: str
    place: str
    asked: dict[str, Any]
    hub_id: str | None
    revision: str | None
    licence: str | None
    files: tuple[BundledFile, ...]


class Manifest(BaseModel):
    """The entries of a bundle, and the profile it was made for."""

    format: Literal[1] = 1
    made_for: str
    entries: list[Entry]

    def write(self, bundle: Path) -> None:
        """Write the manifest of the folder ``bundle``."""
        write_json(bundle / MANIFEST, self.model_dump(mode="json"))

    @classmethod
    def read(cls, bundle: Path) -> Self:
        """Read the manifest of the folder ``bundle``.

        Raises:
            InputError: there is none, or one of another format.
        """
        file = bundle / MANIFEST
        if not file.is_file():
            raise InputError(f"params.yaml: bundle: expected a bundle (make bundle), found no {file}")
        try:
            return cls.model_validate(read_json(file))
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise InputError(f"{file}: expected a bundle's manifest, found: {'; '.join(faults)}") from None


def files_of(folder: Path) -> tuple[BundledFile, ...]:
    """Return all files below ``folder``."""
    return tuple(
        BundledFile(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=_sha256(path))
        for path in sorted(path for path in folder.rglob("*") if path.is_file())
    )


def check_files(bundle: Path, manifest: Manifest, seen: Path | None = None) -> None:
    """Refuse a bundle of which a byte has changed.

    Args:
        bundle: its folder.
        manifest: of the bundle.
        seen: a JSON file that remembers which files were found whole: these are read again only when their size or time
            changes. ``None`` reads all.

    Raises:
        InputError: files are missing, changed, or not in the manifest; names the first ten.
    """
    known = read_json(seen) if seen is not None and seen.exists() else {}
    found: dict[str, list[Any]] = {}
    faults = [fault for entry in manifest.entries for fault in _faults(bundle / entry.folder, entry, known, found)]
    if faults:
        more = f"\nand {len(faults) - 10} more" if len(faults) > 10 else ""
        raise InputError("\n".join(faults[:10]) + f"{more}\n{bundle}: the bundle is not as it was made; make it again")
    if seen is not None and found != known:
        write_json(seen, found)


def _faults(folder: Path, entry: Entry, known: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    paths = {path for path in folder.rglob("*") if path.is_file()}
    for file in entry.files:
        path = folder / file.path
        if path not in paths:
            yield f"{path}: expected a file of {file.bytes} bytes, found none"
            continue
        state = path.stat()
        mark = [file.sha256, state.st_size, state.st_mtime_ns]
        if state.st_size != file.bytes:
            yield f"{path}: expected {file.bytes} bytes, found {state.st_size}"
        elif known.get(str(path)) != mark and (digest := _sha256(path)) != file.sha256:
            yield f"{path}: expected SHA-256 {file.sha256[:16]}..., found {digest[:16]}...: a byte has changed"
        else:
            found[str(path)] = mark
    for path in sorted(paths - {folder / file.path for file in entry.files}):
        yield f"{path}: not in the manifest"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
