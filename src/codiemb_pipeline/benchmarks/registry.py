"""The paper's 15 benchmarks; ``registry.yaml`` holds the facts and their sources."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from codiemb_pipeline.errors import InputError, nearest

Kind = Literal["retrieval", "sts"]

METRICS: dict[str, str] = {"retrieval": "ndcg_at_10", "sts": "cosine_spearman"}
PUBLISHED = ("bge-large-zh-v1.5", "Youtu-Embedding")
"""The models whose published scores are known for all 15."""


class BenchmarkSpec(BaseModel):
    """One benchmark.

    Attributes:
        name: of the mteb task.
        type: ``retrieval`` or ``sts``.
        split: the one that is scored.
        hub_id: of the data set on the Hugging Face hub.
        revision: its pinned commit, 40 hexadecimal digits.
        size: numbers of ``queries`` and ``documents``, or of ``pairs``, in the split.
        text_bytes: of its texts, all splits together, about; the files on the hub are compressed, and smaller.
        licence: as stated where it comes from.
        published: score by model, in percent.
        instruction: the task in words.
        qrels: number of qrels; ``None`` for similarity.
        score_range: lowest and highest gold score; ``None`` for retrieval.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    type: Kind
    split: str
    hub_id: str
    revision: str
    size: dict[str, int]
    text_bytes: int
    licence: str = "none stated"
    published: dict[str, float]
    instruction: str
    qrels: int | None = None
    score_range: tuple[int, int] | None = None

    @property
    def metric(self) -> str:
        """The main score, by mteb's name."""
        return METRICS[self.type]


_FACTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
BENCHMARKS = {name: BenchmarkSpec(name=name, **facts) for name, facts in _FACTS.items()}


def spec_of(name: str) -> BenchmarkSpec:
    """Return the benchmark of that name.

    Raises:
        InputError: there is none; names the nearest.
    """
    if name not in BENCHMARKS:
        raise InputError(f"no benchmark {name!r} of type 'mteb'{nearest(name, BENCHMARKS)}")
    return BENCHMARKS[name]


def names_of(kind: Kind) -> list[str]:
    """Return the names of the 8 retrieval or the 7 similarity benchmarks, in order."""
    return [name for name, spec in BENCHMARKS.items() if spec.type == kind]
