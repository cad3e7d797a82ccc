"""conf/ablation/rows.yaml as a checked object: what is compared."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from codiemb_pipeline.artifacts.merge import merged_name
from codiemb_pipeline.params.base import Section, Seed
from codiemb_pipeline.params.file import read_params

ROWS_FILE = Path("conf/ablation/rows.yaml")


class Row(Section):
    """A training: its name in the table, and the keys of ``train`` that it sets to other values."""

    label: str
    train: dict[str, Any]


class MergedRow(Section):
    """A merged model: its name in the table, and a recipe of section ``merge`` over rows of the same seed."""

    label: str
    recipe: dict[str, Any]


class BootstrapParams(Section):
    """Paired bootstrap: the seed and number of its resamples, and the level of its intervals."""

    seed: Seed
    resamples: int = Field(ge=100)
    level: Annotated[float, Field(gt=0.0, lt=1.0)]


class Rows(Section):
    """All rows: trainings and merged models by name; the others are compared with row ``reference``."""

    rows: dict[str, Row]
    merged: dict[str, MergedRow]
    reference: str
    bootstrap: BootstrapParams

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name, merged in self.merged.items():
            for run in merged.recipe.get("runs") or ():
                if run not in self.rows:
                    raise ValueError(f"merged.{name}.recipe.runs: expected names of rows, found {run!r}")
        if self.reference not in self.rows:
            raise ValueError(f"reference: expected the name of a row, found {self.reference!r}")
        return self

    @classmethod
    def of(cls, root: Path) -> Self:
        """Read the rows of the project at ``root``."""
        return cls.parse(read_params(root / ROWS_FILE), str(ROWS_FILE))

    def labels(self) -> dict[str, str]:
        """Return the label of every model by its name in the results, base first."""
        trained = {row: entry.label for row, entry in self.rows.items()}
        return {"base": "base", **trained, **{merged_name(name): entry.label for name, entry in self.merged.items()}}


def flat(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return nested ``values`` by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}.{key}"
        found |= flat(value, path) if isinstance(value, dict) else {path: value}
    return found
