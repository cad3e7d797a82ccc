"""``python -m codiemb_pipeline.check_encoder`` (``make check-encoder``): params.yaml's encoder, and published scores.

A wrong base of RoPE, epsilon or multiplier shows in no tensor and raises nothing. Published similarities show it.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch.nn.functional import normalize

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.encoder.checkpoint import base_folder, load_encoder
from codiemb_pipeline.encoder.native import native_config
from codiemb_pipeline.encoder.own_code import runs_own_code
from codiemb_pipeline.encoder.registry import ENCODERS, Published
from codiemb_pipeline.encoder.text_encoder import Encoder, pool
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.locations import work_folder
from codiemb_pipeline.params import EncoderParams, Params
from codiemb_pipeline.params.file import PARAMS_FILE, read_params

TOLERANCE = 0.005  # most were computed in half precision
SHOWN = (
    *("embedding_multiplier", "residual_multiplier", "attention_multiplier", "rope_parameters", "rope_interleave"),
    *("rms_norm_eps", "head_dim"),
)
"""Settings of a converted model that no tensor shows."""


PUBLISHED = {name: known.published for name, known in ENCODERS.items() if known.published is not None}


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
