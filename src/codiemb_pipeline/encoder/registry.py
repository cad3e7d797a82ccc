"""Encoders of the profiles; ``registry.yaml`` holds the facts. None of them decides how an encoder is loaded."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from codiemb_pipeline.params.encoder import Pooling


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(_Facts):
    """Cosine similarities of texts, (queries, documents), as their ``source`` prints them.

    They hold for the source's own pooling and ``prompt`` of queries, not for those of params.yaml. Where the prompt is
    not pooled (``prompt_counts``), neither is a token at the beginning of a document.
    """

    source: str
    pooling: Pooling
    prompt: str
    queries: tuple[str, ...]
    documents: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    prompt_counts: bool = True


class KnownEncoder(_Facts):
    """An encoder.

    Attributes:
        licence: as its authors state it.
        size: bytes that are fetched from the hub, about; ``None`` for an encoder in a package.
        published: similarities; ``None`` where the authors print none.
    """

    licence: str
    size: int | None = None
    published: Published | None = None


_FACTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
ENCODERS = {name: KnownEncoder(**facts) for name, facts in _FACTS.items()}
"""By ``encoder.path``."""
