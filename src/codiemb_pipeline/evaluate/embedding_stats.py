"""Measures the geometry of an encoder's embedding space on texts of the benchmarks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import itemgetter
from typing import TypeVar

import torch

from codiemb_pipeline.encoder.embedding_store import EmbeddingStore
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.evaluate.benchmark import Benchmark
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


def measure_embeddings(
    encoder: Encoder, probe: Probe, *, tokens_per_chunk: int, known: EmbeddingStore | None = None
) -> dict[str, float | int | None]:
    """Return the measures of one encoder, fields of ``EmbeddingStats``; texts are encoded without a prompt."""
    options = {"tokens_per_chunk": tokens_per_chunk, "known": known}
    embeddings = encode_texts(encoder, probe.texts, **options, progress="geometry")
    sides = [[pair[side] for pair in probe.pairs] for side in (0, 1)]
    first, second = (encode_texts(encoder, side, **options) for side in sides)
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


def anisotropy(embeddings: torch.Tensor) -> float:
    """Return the mean cosine over all pairs of different rows (n, D): near 0 when spread out, 1 when collapsed.

    Source: Ethayarajh 2019 (arXiv 1909.00512), over all pairs instead of sampled ones.
    """
    unit = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    count = len(unit)
    return float((unit.sum(dim=0).square().sum() - unit.square().sum()) / (count * (count - 1)))


def alignment(first: torch.Tensor, second: torch.Tensor) -> float | None:
    """Return the mean squared distance of positive pairs (n, D) of unit length; ``None`` without pairs.

    Source: Wang & Isola 2020 (arXiv 2005.10242), alpha = 2.
    """
    if not len(first):
        return None
    return float((_unit(first) - _unit(second)).square().sum(dim=1).mean())


def uniformity(embeddings: torch.Tensor) -> float:
    """Return log of the mean of exp(-2 d^2) over pairs of different rows (n, D); about -4 at best, 0 at worst.

    Source: Wang & Isola 2020 (arXiv 2005.10242), t = 2.
    """
    distances = torch.pdist(_unit(embeddings))
    return float(torch.logsumexp(-2 * distances.square(), dim=0) - math.log(len(distances)))


def spectrum(embeddings: torch.Tensor) -> dict[str, float | int | None]:
    """Return measures of the singular values of the embeddings (n, D).

    With p_i the m singular values divided by their sum: ``svd_entropy`` = -sum p log p / log m, in [0, 1];
    ``effective_rank`` = exp(-sum p log p) (Roy & Vetterli 2007); ``numeric_rank``, the number of values above
    max(n, D) * eps * the largest; ``condition_number``, largest over smallest, ``None`` when one is not above it.
    """
    values = torch.linalg.svdvals(embeddings.double())
    shares = values / values.sum()
    positive = shares[shares > 0]
    entropy = float(-(positive * positive.log()).sum())
    bound = max(embeddings.shape) * torch.finfo(torch.float32).eps * float(values[0])
    rank = int((values > bound).sum())
    return {
        "svd_entropy": entropy / math.log(len(values)) if len(values) > 1 else 0.0,
        "effective_rank": math.exp(entropy),
        "numeric_rank": rank,
        "condition_number": float(values[0] / values[-1]) if rank == len(values) else None,
    }


def token_similarity(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine of different tokens of one text, (n,); high means over-smoothing, NaN a single token.

    Args:
        states: token states (n, T, D).
        mask: (n, T), 1 on tokens.
    """
    unit = _unit(states) * mask.unsqueeze(-1)
    counts = mask.sum(dim=1).double()
    similarity = (unit.sum(dim=1).square().sum(dim=-1) - counts) / (counts * (counts - 1))
    return similarity.masked_fill(counts < 2, torch.nan)  # 0 / 0 with rounding could be infinite


def _unit(embeddings: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(embeddings.double(), dim=-1)
