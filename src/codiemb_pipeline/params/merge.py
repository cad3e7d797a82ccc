"""The ``merge`` section: how checkpoints become one encoder."""

from typing import Annotated, ClassVar, Literal, Union

from pydantic import Field, field_validator

from codiemb_pipeline.params.base import DISTINCT, CountOrZero, FileName, Section


class _Recipe(Section):
    """The settings of every recipe.

    Attributes:
        at_least, at_most: how many candidates its method merges.
        runs: whose checkpoints are candidates, in this order; ``null`` for all runs, in the order of section ``runs``.
        last_only: whether only the last checkpoint of each run is a candidate.
    """

    at_least: ClassVar[int] = 1
    at_most: ClassVar[int | None] = None
    runs: tuple[str, ...] | None = Field(default=None, min_length=1)
    last_only: bool = False

    @field_validator("runs")
    @classmethod
    def _each_once(cls, runs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if runs and len(set(runs)) < len(runs):
            raise ValueError("expected each run once")
        return runs


class UniformRecipe(_Recipe):
    """The plain average of all candidates."""

    method: Literal["uniform"]


class GreedyRecipe(_Recipe):
    """The average of those candidates that do not lower the dev score."""

    method: Literal["greedy"]


class BestRecipe(_Recipe):
    """The single candidate with the highest dev score, unchanged."""

    method: Literal["best"]


class DeltaGuidedRecipe(_Recipe):
    """Delta-guided fusion, our reading of the paper's section 2.4 (docs/method.md).

    Attributes:
        granularity: what one weight is for: every ``element``, ``tensor`` or ``layer``, or the whole ``model``.
        norm: how far a part moved from base: ``l1``, ``l2`` or ``max`` (for ``element`` all are the absolute value).
        weighting: ``proportional`` to that norm, ``inverse``, or ``softmax`` of it.
        tau: temperature of ``softmax``, in units of the mean norm of the candidates; negative favours small moves.
        levels: 1 weighs all candidates against each other; 2 those of a run first, then the runs' fused moves.
    """

    method: Literal["delta_guided"]
    granularity: Literal["element", "tensor", "layer", "model"]
    norm: Literal["l1", "l2", "max"]
    weighting: Literal["proportional", "inverse", "softmax"]
    tau: float = Field(ge=-1e9, le=1e9)
    levels: int = Field(ge=1, le=2)

    @field_validator("tau")
    @classmethod
    def _not_zero(cls, tau: float) -> float:
        if abs(tau) < 1e-4:
            raise ValueError("tau must not be 0, nor nearer to it than 1e-4")
        return tau


class TaskArithmeticRecipe(_Recipe):
    """Base plus the candidates' moves summed and multiplied by ``scale``."""

    method: Literal["task_arithmetic"]
    scale: float = Field(gt=0.0, le=1e3)


class TiesRecipe(_Recipe):
    """Trim, elect sign and merge.

    Attributes:
        density: share of each tensor's moves that are kept, the largest.
        scale: what the merged move is multiplied by.
    """

    method: Literal["ties"]
    density: float = Field(gt=0.0, le=1.0)
    scale: float = Field(gt=0.0, le=1e3)


class SlerpRecipe(_Recipe):
    """Spherical interpolation between exactly two candidates: ``t`` 0 is the first, 1 the second."""

    at_least, at_most = 2, 2
    method: Literal["slerp"]
    t: float = Field(ge=0.0, le=1.0)


class ModelStockRecipe(_Recipe):
    """Between base and the average of two or more candidates, by the angle between their moves."""

    at_least = 2
    method: Literal["model_stock"]


Recipe = Annotated[Union[tuple(_Recipe.__subclasses__())], Field(discriminator="method")]  # noqa: UP007
RecipeName = Annotated[FileName, Field(pattern=r"^[a-z0-9_]+$")]


class MergeParams(Section):
    """Merging of the checkpoints of one run or several."""

    skip_first: CountOrZero
    output_dtype: Literal["float32", "float16", "bfloat16"] | None
    recipes: Annotated[dict[RecipeName, Recipe], DISTINCT] = Field(min_length=1)
