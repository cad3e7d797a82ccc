"""The transformer of an encoder: loaded tensor by tensor, made bidirectional where asked, and tested on a few tokens.

What a backbone can do is tested, not guessed from its name (reference, defect 13).
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel

from codiemb_pipeline.encoder.native import native_config
from codiemb_pipeline.encoder.own_code import own_code_errors, runs_own_code
from codiemb_pipeline.encoder.tokens import TokenBatch, pad
from codiemb_pipeline.encoder.weights import StoredTensor, stored_tensors
from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.params.encoder import EncoderParams

TOLERANCE = 1e-3
"""Share of the largest state: far above rounding, far below the effect of another position or visible token."""
POOLER = re.compile(r"(.+\.)?pooler\..+")
UNUSED = re.compile(r"(.+\.)?((lm_head|cls|pooler)\..+|rotary_emb\.inv_freq|position_ids)")
"""Tensors that a checkpoint may have although the backbone has not: heads of pre-training, and buffers it computes."""
NAMED = 3  # tensors of each fault that an error names


def load_backbone(folder: Path, params: EncoderParams) -> nn.Module:
    """Load the backbone in ``folder`` in float32 on the CPU: all of its tensors, and no others.

    A pooler that the checkpoint lacks is zero: no embedding depends on it.

    Raises:
        InputError: transformers has no class for it, tensors are missing, unexpected, of another shape, not floating
            point or not finite, it must attend in both directions and does not, or its own code fails.
    """
    transformers.utils.logging.disable_progress_bar()
    outline = backbone_outline(folder, params)
    with own_code_errors(folder, params):
        backbone = _load(folder, params, outline)
        _check_states(backbone, folder, runs_own_code(folder, params))
        if runs_own_code(folder, params):
            _check_rebuilt(backbone, folder)
        if params.bidirectional:
            # The mask functions of transformers 5 read this key. It is saved, so that every loader attends alike.
            backbone.config.is_causal = False
            if not attends_both_ways(backbone):
                raise InputError(
                    f"params.yaml: encoder.bidirectional: {folder}: expected a backbone that can attend both ways, "
                    f"found {type(backbone).__name__}, in which tokens never see later ones; set it to false"
                )
    return backbone


def backbone_outline(folder: Path, params: EncoderParams) -> nn.Module:
    """Return the backbone in ``folder`` without memory for its weights, as its configuration describes it.

    Raises:
        InputError: transformers has no class for it, the configuration is damaged, or its own code fails.
    """
    own_code = runs_own_code(folder, params)
    with own_code_errors(folder, params):
        config = None if own_code else native_config(folder)
        if config is not None and config.max_position_embeddings < params.max_length:
            # Of RoPE in a model's own code this is no limit, and the recipe trains MiniCPM (512) on 1024 tokens.
            config.max_position_embeddings = params.max_length
        with _loading_errors(folder, own_code), torch.device("meta"):
            config = config or AutoConfig.from_pretrained(folder, trust_remote_code=own_code)
            return AutoModel.from_config(config, trust_remote_code=own_code)


def _load(folder: Path, params: EncoderParams, outline: nn.Module) -> nn.Module:
    tensors = _without_prefix(stored_tensors(folder), outline)
    options = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    with _loading_errors(folder, runs_own_code(folder, params)), _uninitialised_is_nan():
        backbone, info = type(outline).from_pretrained(
            None, config=outline.config, state_dict={name: tensor.read() for name, tensor in tensors.items()}, **options
        )
    _check_tensors(backbone, info, folder, tensors)
    return backbone


def _without_prefix(tensors: dict[str, StoredTensor], outline: nn.Module) -> dict[str, StoredTensor]:
    """Return tensors without the words that all their names begin with, where the backbone knows none of the names.

    Training wraps a backbone in modules of its own: ``model.``, ``module.``, ``encoder.model.``.
    """
    expected, prefix, base = outline.state_dict().keys(), "", f"{outline.base_model_prefix}."
    if twice := sorted(name for name in expected & tensors.keys() if f"{base}{name}" in tensors.keys() - expected):
        file = tensors[twice[0]].file
        raise InputError(f"{file}: expected each tensor once, found {twice[0]!r} and {base + twice[0]!r}")
    names = [name for name in tensors if not UNUSED.fullmatch(name)]
    while not any(name.removeprefix(prefix) in expected for name in names):
        words = {name.removeprefix(prefix).partition(".")[:2] for name in names}
        if len(words) != 1 or not all(word and dot for word, dot in words):
            return tensors
        prefix += "".join(words.pop())
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


@contextmanager
def _loading_errors(folder: Path, own_code: bool) -> Iterator[None]:
    """Turn whatever transformers raises on a folder into an error that names it; own code has its own words."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if own_code:
            raise
        raise InputError(
            f"{folder}: expected a model of texts that transformers {transformers.__version__} can load and run: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


@contextmanager
def _uninitialised_is_nan() -> Iterator[None]:
    """Fill memory that nothing initialises with NaN.

    transformers 5 builds models without memory and leaves the buffers of own code uninitialised that are not saved
    (such as RoPE's wavelengths): any numbers, and wrong embeddings without an error.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@torch.no_grad()
def _check_tensors(
    backbone: nn.Module, info: Mapping[str, Any], folder: Path, stored: Mapping[str, StoredTensor]
) -> None:
    """Raise an InputError unless every tensor was loaded, in its shape, with finite values, and none was left over."""
    missing = {name for name in info["missing_keys"] if not POOLER.fullmatch(name)}
    for name in info["missing_keys"] - missing:
        backbone.get_parameter(name).zero_()
    tensors = [*backbone.named_parameters(), *backbone.named_buffers()]
    whole = {name for name, tensor in tensors if not tensor.is_floating_point()}
    faults = {
        "missing": sorted(missing),
        "of another shape": [f"{name} {tuple(a)} for {tuple(b)}" for name, a, b in sorted(info["mismatched_keys"])],
        "unexpected": sorted(name for name in info["unexpected_keys"] if not UNUSED.fullmatch(name)),
        "not of 16 to 64 bit floating point": sorted(
            name for name, x in stored.items() if x.dtype is None and not UNUSED.fullmatch(name) and name not in whole
        ),
        "with NaN or infinity": [
            name for name, tensor in tensors if tensor.is_floating_point() and not tensor.isfinite().all()
        ],
    }
    found = [
        f"{len(names)} {fault} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
        for fault, names in faults.items()
        if names
    ]
    if found:
        raise InputError(
            f"{folder}: expected the tensors of {type(backbone).__name__} as config.json describes it, found "
            f"{'; '.join(found)}; get the folder again, or correct its config.json"
        )


@torch.no_grad()
def _check_states(backbone: nn.Module, folder: Path, own_code: bool) -> None:
    """Raise an InputError unless a backbone makes finite states of token ids alone, each ``hidden_size`` wide."""
    with _loading_errors(folder, own_code):
        states = _states(backbone.eval(), pad([_some_ids(backbone, 6)], [0], 0))
        if states.shape != (1, 6, hidden_size(backbone)) or not states.isfinite().all():
            raise InputError(
                f"{folder}: expected finite states of {hidden_size(backbone)} numbers for each token, found "
                f"{tuple(states.shape)} of {type(backbone).__name__}"
            )


@torch.no_grad()
def _check_rebuilt(backbone: nn.Module, folder: Path) -> None:
    """Raise an InputError unless own code gives the same finite states when it is built from what would be saved."""
    config = type(backbone.config).from_dict(backbone.config.to_dict())
    with _uninitialised_is_nan():
        again = type(backbone).from_pretrained(None, config=config, state_dict=backbone.state_dict())
    batch = pad([_some_ids(backbone, 6)], [0], 0)
    first, second = _states(backbone, batch), _states(again, batch)
    if not first.isfinite().all() or (first - second).abs().max() > TOLERANCE * first.abs().max():
        raise InputError(
            f"{folder}: expected the same finite token states when {type(backbone).__name__}, its own code, is built "
            f"again from its configuration and weights; found others, so that a saved encoder would be another"
        )


@torch.no_grad()
def attends_both_ways(backbone: nn.Module) -> bool:
    """Return whether the first of two tokens sees the second, with and without padding."""
    a, b, c = _some_ids(backbone, 3)
    seen = []
    for padding in ([], [a]):
        batch = pad([[a, b, *padding], [a, c, *padding]], [0, 0], a)
        batch.attention_mask[:, 2:] = 0
        states = _states(backbone, batch)[:, 0]
        seen.append(bool((states[0] - states[1]).abs().max() > TOLERANCE * states.abs().max()))
    return all(seen)


@torch.no_grad()
def must_count_positions(backbone: nn.Module, folder: Path, pad_id: int) -> bool:
    """Return whether a backbone needs the positions of texts that are padded on the left.

    Models with absolute positions (BERT) count padding without them; others (RoBERTa) derive positions from the padding
    tokens and do not start at 0. The way that gives a padded text the same states as without padding is chosen.

    Raises:
        InputError: neither way does.
    """
    long, short = [entry for entry in _some_ids(backbone, 6) if entry != pad_id][:5], slice(2, 5)
    batch = pad([long, long[short]], [0, 0], pad_id, "left")
    alone = _states(backbone, pad([long[short]], [0], pad_id))[0]
    for count in [True, False] if "position_ids" in inspect.signature(backbone.forward).parameters else [False]:
        positions = {"position_ids": batch.positions} if count else {}
        difference = (_states(backbone, batch, **positions)[1, 2:] - alone).abs().max()
        if difference <= TOLERANCE * alone.abs().max():
            return count
    raise InputError(
        f"params.yaml: encoder.padding_side: {folder}: the states of a text change when {type(backbone).__name__} gets "
        f"it padded on the left; set it to right"
    )


def hidden_size(backbone: nn.Module) -> int:
    """Return the width of a backbone's token states."""
    return int(backbone.config.get_text_config().hidden_size)


def without_cache(backbone: nn.Module) -> dict[str, bool]:
    """Return the arguments that keep a decoder from storing keys and values, which only generation needs."""
    return {"use_cache": False} if "use_cache" in inspect.signature(backbone.forward).parameters else {}


def _some_ids(backbone: nn.Module, count: int) -> list[int]:
    """Return token ids from the middle of the vocabulary, where few are special."""
    middle = int(backbone.config.get_text_config().vocab_size) // 2
    return list(range(middle, middle + count))


def _states(backbone: nn.Module, batch: TokenBatch, **options: torch.Tensor) -> torch.Tensor:
    options |= without_cache(backbone)
    return backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options).last_hidden_state
