"""What ``train`` writes of one run: encoder folders ``step-<number>/``, step 0 being the base, and ``run.json``."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, FiniteFloat

from codiemb_pipeline.artifacts.base import Artifact


def checkpoint_name(step: int) -> str:
    """Return the folder name of the checkpoint after ``step`` updates."""
    return f"step-{step:06d}"


class Checkpoint(Artifact):
    """A checkpoint: its folder, its step, and its dev scores by ``<source>/<metric>``, ``ir``, ``sts`` and ``mean``."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    step: int
    dev: dict[str, FiniteFloat]


class TrainedRun(Artifact):
    """The content of ``run.json``.

    Attributes:
        base_sha256: hash of the base encoder's weights as they were given.
        base: checkpoint 0: the encoder before the first update, written as every other checkpoint is.
        checkpoints: the trained ones, by step.
    """

    written_by: ClassVar[str] = "train"
    base_sha256: str
    base: Checkpoint
    checkpoints: list[Checkpoint]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the description of the run in ``folder``."""
        return cls.read(folder / "run.json")
