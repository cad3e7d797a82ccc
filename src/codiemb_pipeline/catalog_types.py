"""How the catalog hands folders to nodes and takes finished ones: a stage writes files, never objects in memory."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePath
from typing import Any

from kedro.io import AbstractDataset

from codiemb_pipeline.locations import work_folder


class Folder(AbstractDataset[Path, Path]):
    """A folder. Loading gives its path; saving moves a finished folder into its place.

    What stood there before is gone only when the new one is whole, and the move is a rename on one file system.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = PurePath(filepath)
        self.metadata = metadata

    @property
    def place(self) -> Path:
        """Where it lies, or will."""
        return Path(self._filepath)

    def load(self) -> Path:
        """Return the path."""
        path = Path(self._filepath)
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: expected the folder an earlier stage writes; run it first (dvc repro)")
        return path

    def save(self, data: Path) -> None:
        """Move the finished folder ``data`` into place."""
        target = Path(self._filepath)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(data, target)

    def _exists(self) -> bool:
        return Path(self._filepath).is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class RunFolder(Folder):
    """The folder of all runs, of which a stage writes one. Loading gives the path of all; saving replaces one run's.

    What is no run of params.yaml any more stays where it is, until it is deleted: readers go by the names they know.
    """

    def __init__(self, filepath: str, run: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)
        self._run = run

    def save(self, data: Path) -> None:
        """Move the finished folder ``data`` into the run's place."""
        Folder(str(self._filepath / self._run)).save(data)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "run": self._run}


class Artefact(Folder):
    """A file among other files. Loading gives its path; saving moves a finished file into its place."""

    def load(self) -> Path:
        """Return the path."""
        path = Path(self._filepath)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected the file an earlier stage writes; run it first (dvc repro)")
        return path

    def save(self, data: Path) -> None:
        """Move the finished file ``data`` into place."""
        target = Path(self._filepath)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(data, target)

    def _exists(self) -> bool:
        return Path(self._filepath).is_file()


class WorkFolder(Folder):
    """The untracked folder of work in progress (:func:`codiemb_pipeline.locations.work_folder`), made when missing.

    DVC deletes the workspaces of queued experiments even after a failure: a resume there needs a folder outside.
    """

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(str(work_folder()), metadata)

    def load(self) -> Path:
        """Return the path."""
        self.place.mkdir(parents=True, exist_ok=True)
        return self.place

    def save(self, data: Path) -> None:
        """Refuse: no node writes it as an output."""
        raise TypeError("the work folder is no output of any node")
