"""Measures the embedding space of one encoder on texts of the benchmarks. The formulas are in ``geometry``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from codiemb_pipeline.encoder.encode import batch_of, encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.evaluate.geometry import alignment, anisotropy, spectrum, token_similarity, uniformity
from codiemb_pipeline.evaluate.local_tasks import BenchmarkData
from codiemb_pipeline.params.evaluate import GeometryParams
from codiemb_pipeline.texts import hash_share

TOKEN_TEXTS = 200
POSITIVE_PAIRS = 2000
GOOD_GOLD = 0.8


@dataclass(frozen=True)
class Probe:
    """The texts a space is measured on, the same for every model: any texts, and pairs that belong together."""

    texts: list[str]
    pairs: list[tuple[str, str]]


def make_probe(benchmarks: list[BenchmarkData], params: GeometryParams) -> Probe:
    """Draw texts and positive pairs (a query with a relevant document, or a pair with gold of 0.8 and above)."""
    texts: dict[str, None] = {}
    pairs: dict[tuple[str, str], None] = {}
    for benchmark in benchmarks:
        tables = benchmark.tables
        if "pairs" in tables:
            both = list(zip(tables["pairs"]["text_a"], tables["pairs"]["text_b"], strict=True))
            texts |= dict.fromkeys(text for pair in both for text in pair)
            good = tables["pairs"]["gold"] >= GOOD_GOLD
            pairs |= dict.fromkeys(pair for pair, kept in zip(both, good, strict=True) if kept)
        else:
            joined = (tables["corpus"]["title"] + " " + tables["corpus"]["text"]).str.strip()
            document = dict(zip(tables["corpus"]["doc_id"], joined, strict=True))
            query = dict(zip(tables["queries"]["query_id"], tables["queries"]["text"], strict=True))
            texts |= dict.fromkeys([*document.values(), *query.values()])
            pairs |= dict.fromkeys((query[q], document[d]) for q, d, _ in tables["qrels"].itertuples(index=False))

    def drawn(items: dict, count: int) -> list:
        return sorted(items, key=lambda item: (hash_share(params.seed, "geometry", item), str(item)))[:count]

    return Probe(drawn(texts, params.texts), drawn(pairs, POSITIVE_PAIRS))


def measure_space(encoder: Encoder, probe: Probe, *, tokens_per_chunk: int) -> dict[str, float | int | None]:
    """Return the measures of one encoder's space; texts bear no prompt."""
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
        for number in range(len(rows)):
            batch = batch_of(rows, prompt_lengths, np.array([number]), encoder.pad_id).to(encoder.device)
            values.append(token_similarity(encoder.model.token_states(batch), batch.attention_mask))
    known = torch.cat(values)
    known = known[~known.isnan()]
    return float(known.mean()) if len(known) else None
