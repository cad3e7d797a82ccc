"""What a bundle holds, and the proof that it still does: every file with its size and SHA-256.

    encoder/<files>  sources/<name>/<files>  benchmarks/<name>/<files>  manifest.json

Knows nothing of parameters or of the hub.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json

MANIFEST, FORMAT = "manifest.json", 1


@dataclass(frozen=True, kw_only=True)
class BundledFile:
    """One file: its path in the folder of its entry, size in bytes, and SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The encoder, a source or a benchmark.

    Attributes:
        kind: ``encoder``, ``source`` or ``benchmark``.
        name: as params.yaml has it.
        folder: in the bundle.
        place: what is read, in ``folder``: a file, or empty for the folder itself.
        asked: what params.yaml asked for; a bundle serves that and nothing else.
        hub_id, revision, licence: of the origin; ``None`` where there is none, or it does not say.
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


def files_of(folder: Path) -> tuple[BundledFile, ...]:
    """Return all files below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(
        BundledFile(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=_sha256(path))
        for path in paths
    )


def write_manifest(bundle: Path, made_for: str, entries: list[Entry]) -> None:
    """Write what ``bundle`` holds, and which profile it was made for."""
    values = {"format": FORMAT, "made_for": made_for, "entries": [asdict(entry) for entry in entries]}
    write_json(bundle / MANIFEST, values)


def read_manifest(bundle: Path) -> list[Entry]:
    """Return what ``bundle`` holds.

    Raises:
        InputError: it is no bundle, or one of another format.
    """
    if not (bundle / MANIFEST).is_file():
        raise InputError(
            f"params.yaml: bundle: expected a folder with {MANIFEST} (make bundle), found none at {bundle}"
        )
    values = read_json(bundle / MANIFEST)
    if values.get("format") != FORMAT:
        raise InputError(f"{bundle / MANIFEST}: format: expected {FORMAT}, found {values.get('format')!r}")
    return [
        Entry(**{**entry, "files": tuple(BundledFile(**file) for file in entry["files"])})
        for entry in values["entries"]
    ]


def check_files(bundle: Path, entries: list[Entry], seen: Path | None = None) -> None:
    """Refuse a bundle of which a byte has changed.

    Args:
        bundle: its folder.
        entries: from its manifest.
        seen: where to remember files that were read and found whole, so that they are read again only when their size
            or time changes; ``None`` reads all.

    Raises:
        InputError: files are missing, changed, or not in the manifest; names each of the first ten.
    """
    known = read_json(seen) if seen is not None and seen.exists() else {}
    found: dict[str, list[Any]] = {}
    faults = [fault for entry in entries for fault in _faults(bundle, entry, known, found)]
    if faults:
        more = f"\nand {len(faults) - 10} more" if len(faults) > 10 else ""
        raise InputError("\n".join(faults[:10]) + f"{more}\n{bundle}: the bundle is not as it was made; make it again")
    if seen is not None and found != known:
        write_json(seen, found)


def _faults(bundle: Path, entry: Entry, known: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    folder = bundle / entry.folder
    for file in entry.files:
        path = folder / file.path
        if not path.is_file():
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
    listed = {file.path for file in entry.files}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in listed:
            yield f"{path}: not in the manifest"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
