"""The transformer of an encoder: loaded, made bidirectional where asked, and tested on a few tokens.

What a backbone can do is tested, not guessed from its name (reference, defect 13). Python code that comes with a model
runs only if params.yaml allows it.
"""

import fcntl
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import AutoModel, dynamic_module_utils

from codiemb_pipeline.encoder.tokens import TokenBatch, pad
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.encoder import EncoderParams

TOLERANCE = 1e-3
"""Share of the largest state: far above rounding, far below the effect of another position or visible token."""
LOADED = {"config.json": ("AutoConfig", "AutoModel"), "tokenizer_config.json": ("AutoTokenizer",)}
"""The classes that are loaded from a folder, by the file that names them."""


def load_backbone(folder: Path, params: EncoderParams) -> nn.Module:
    """Load the backbone in ``folder`` in float32 on the CPU.

    Raises:
        InputError: it must attend in both directions and does not, or its own code fails.
    """
    transformers.utils.logging.disable_progress_bar()
    with own_code_errors(folder):
        backbone = AutoModel.from_pretrained(folder, dtype=torch.float32, trust_remote_code=params.trust_remote_code)
        if params.bidirectional:
            # The mask functions of transformers 5 read this key. It is saved, so that every loader attends alike.
            backbone.config.is_causal = False
            if not attends_both_ways(backbone):
                raise InputError(
                    f"params.yaml: encoder.bidirectional: {folder}: expected a backbone that can attend both ways, "
                    f"found {type(backbone).__name__}, in which tokens never see later ones; set it to false"
                )
    return backbone


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


def own_classes(folder: Path) -> list[str]:
    """Return the classes of a folder's own code that loading it needs, as ``<module>.<class>``."""
    found = []
    for file, kinds in LOADED.items():
        named = read_json(folder / file).get("auto_map", {}) if (folder / file).exists() else {}
        for kind in kinds if isinstance(named, dict) else ():
            entry = named.get(kind)
            found += [name for name in (entry if isinstance(entry, list) else [entry]) if name]
    return found


def prepare_own_code(folder: Path, params: EncoderParams) -> None:
    """Import the code in an encoder folder, if there is any.

    transformers first copies it into a cache of modules; a lock keeps processes from doing so at the same time.

    Raises:
        InputError: there is code and ``trust_remote_code`` is false, or it lies in another repository, or fails.
    """
    classes = own_classes(folder)
    if not classes:
        return
    files = ", ".join(sorted({f"{name.rpartition('--')[2].partition('.')[0]}.py" for name in classes}))
    if not params.trust_remote_code:
        raise InputError(
            f"params.yaml: encoder.trust_remote_code: {folder}: its architecture is in Python code of its own "
            f"({files}); read it, and set this key to true to run it"
        )
    if foreign := [name for name in classes if "--" in name]:
        raise InputError(
            f"{folder}: expected code in the folder itself, found {foreign[0]!r}, code of another repository that no "
            f"revision pins; put {files} beside the weights and remove everything before -- from auto_map"
        )
    cache = Path(dynamic_module_utils.HF_MODULES_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "codiemb.lock").open("w") as lock, own_code_errors(folder):
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in classes:
            dynamic_module_utils.get_class_from_dynamic_module(name, folder)


@contextmanager
def own_code_errors(folder: Path) -> Iterator[None]:
    """Turn exceptions from a folder's own code into errors that name the folder; other exceptions pass.

    Raises:
        InputError: the code failed.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if not own_classes(folder):
            raise
        reason = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        raise InputError(
            f"{folder}: its own code does not run under transformers {transformers.__version__}: {reason}; its model "
            f"card names the version that it was written for"
        ) from error
