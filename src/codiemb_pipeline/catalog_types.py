"""How the catalog hands files and folders to nodes and takes finished ones: never objects in memory."""

import shutil
from pathlib import Path
from typing import Any

from click import ClickException
from kedro.io import AbstractDataset, DatasetError

from codiemb_pipeline.locations import work_folder


class OutputError(DatasetError, ClickException):
    """An output can't be put into its place; Kedro lets it pass, and its command prints it in a line."""


class StageOutput(AbstractDataset[Path, Path]):
    """A file or folder that a stage writes. Loading gives its path; saving moves a finished one into its place.

    What stood there before is gone only when the new one is whole and lies beside it. Where the place is a link, the
    new one goes where the link leads; where it is the root of a disk, its content is replaced.
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
        place = target.resolve()
        beside = place / f".{place.name}.new" if place.is_mount() else place.with_name(f".{place.name}.new")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _remove(beside)
            shutil.move(data, beside)  # a copy, where the work folder is on another disk
            if place.is_mount():
                for old in set(place.iterdir()) - {beside}:
                    _remove(old)
                for new in beside.iterdir():
                    new.rename(place / new.name)
                beside.rmdir()
            else:
                _remove(place)
                beside.rename(place)
        except OSError as error:
            kept = next((made for made in (data, beside) if made.exists()), data)
            raise OutputError(
                f"{target}: expected a place where the stage's output can be put: {error.strerror or error} "
                f"({error.filename}); the finished output is in {kept}"
            ) from error

    def _exists(self) -> bool:
        return self.path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
