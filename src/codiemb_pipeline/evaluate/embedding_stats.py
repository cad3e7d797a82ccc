"""Measures the embedding space of an encoder on texts of the benchmarks; the formulas are in ``geometry``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import itemgetter
from typing import TypeVar

import torch

from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.evaluate.benchmark import Benchmark
from codiemb_pipeline.evaluate.geometry import alignment, anisotropy, spectrum, token_similarity, uniformity
from codiemb_pipeline.params.evaluate import GeometryParams
from codiemb_pipeline.texts import hash_share

TOKEN_TEXTS = 200
POSITIVE_PAIRS = 2000

Item = TypeVar("Item", str, tuple[str, str])


@dataclass(frozen=True)
class Probe:
    """The texts that every model is measured on, and pairs of texts that belong together."""

    texts: list[str]
    pairs: list[tuple[str, str]]


def make_probe(benchmarks: Sequence[Benchmark], params: GeometryParams) -> Probe:
    """Draw texts and positive pairs (a query with a relevant document, or a pair with gold of 0.8 and above)."""
    texts = (text for benchmark in benchmarks for text in benchmark.texts())
    pairs = (pair for benchmark in benchmarks for pair in benchmark.positive_pairs())
    return Probe(_drawn(texts, params.texts, params.seed), _drawn(pairs, POSITIVE_PAIRS, params.seed))


def _drawn(items: Iterable[Item], count: int, seed: int) -> list[Item]:
    """Return the ``count`` distinct items of lowest hash, sorted by it; holds at most ``4 * count`` items."""
    kept: dict[Item, tuple[float, str]] = {}
    bound: tuple[float, str] | None = None
    for item in items:
        key = (hash_share(seed, "geometry", item), str(item))
        if bound is None or key < bound:
            kept[item] = key
        if len(kept) > 4 * count:
            kept = dict(nsmallest(count, kept.items(), key=itemgetter(1)))
            bound = max(kept.values())
    return sorted(kept, key=kept.__getitem__)[:count]


def measure_embeddings(encoder: Encoder, probe: Probe, *, tokens_per_chunk: int) -> dict[str, float | int | None]:
    """Return the measures of one encoder, fields of ``EmbeddingStats``; texts are encoded without a prompt."""
    embeddings = encode_texts(encoder, probe.texts, tokens_per_chunk=tokens_per_chunk, progress="geometry")
    sides = [[pair[side] for pair in probe.pairs] for side in (0, 1)]
    first, second = (encode_texts(encoder, side, tokens_per_chunk=tokens_per_chunk) for side in sides)
    return {
        "anisotropy": anisotropy(embeddings),
        "alignment": alignment(first, second),
        "uniformity": uniformity(embeddings),
        **spectrum(embeddings),
        "token_similarity": _token_similarity(encoder, probe.texts[:TOKEN_TEXTS]),
    }


def _token_similarity(encoder: Encoder, texts: list[str]) -> float | None:
    rows, prompt_lengths = encoder.tokenize(texts)
    values = []
    with torch.inference_mode():
        for row, prompt_length in zip(rows, prompt_lengths, strict=True):
            batch = pad([row], [prompt_length], encoder.pad_id).to(encoder.device)
            values.append(token_similarity(encoder.model.token_states(batch), batch.attention_mask))
    known = torch.cat(values)
    known = known[~known.isnan()]
    return float(known.mean()) if len(known) else None
