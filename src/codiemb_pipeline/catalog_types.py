"""How the catalog hands files and folders to nodes and takes finished ones: never objects in memory."""

import shutil
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from codiemb_pipeline.locations import work_folder


class StageOutput(AbstractDataset[Path, Path]):
    """A file or folder that a stage writes. Loading gives its path; saving moves a finished one into its place.

    What stood there before is gone only when the new one is whole, and the move is a rename on one file system.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """Return the path."""
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: expected what an earlier stage writes; run it first (dvc repro)")
        return self.path

    def save(self, data: Path) -> None:
        """Move the finished file or folder ``data`` into place."""
        self._move(data, self.path)

    def _move(self, data: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        shutil.move(data, target)

    def _exists(self) -> bool:
        return self.path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}


class RunFolder(StageOutput):
    """The folder of all runs, of which a stage writes one. Loading gives the path of all; saving replaces one run's.

    A run that params.yaml no longer names keeps its folder until it is deleted: readers go by the names they know.
    """

    def __init__(self, filepath: str, run: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)
        self._run = run

    def save(self, data: Path) -> None:
        """Move the finished folder ``data`` into the run's place."""
        self._move(data, self.path / self._run)


class WorkFolder(StageOutput):
    """The untracked folder of work in progress (:func:`codiemb_pipeline.locations.work_folder`), made when missing.

    DVC deletes the workspaces of queued experiments even after a failure: a resume there needs a folder outside.
    """

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(str(work_folder()), metadata)

    def load(self) -> Path:
        """Return the path."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path

    def save(self, data: Path) -> None:
        """Refuse: no node writes it as an output."""
        raise TypeError("the work folder is no output of any node")
