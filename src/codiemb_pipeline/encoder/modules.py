"""The sentence-transformers files of an encoder folder, compared with the settings.

A trained layer that the settings leave out, and what they have no value for, is an error: it would be lost without a
word. How states are read and texts are begun is the user's choice, as training adapts to it; where the folder does so
otherwise, the log says it once.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from codiemb_pipeline.encoder.export import IDENTITY, PROJECTION_FOLDER, TRUNCATE_FOLDER
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.text_encoder import MEANS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, read_object
from codiemb_pipeline.params.encoder import EncoderParams

logger = logging.getLogger(__name__)

ORDER = ("Transformer", "Pooling", "Dense", "Normalize")
"""The modules that the settings express, in this order; theirs besides have no counterpart."""
POOLINGS = {"cls": "cls", "mean": "mean", "weightedmean": "weighted_mean", "lasttoken": "last"}
LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
DENSE = {
    "activation_function": (IDENTITY, None),
    "bias": (True, None),
    "use_residual": (False, False),
    "module_input_name": ("sentence_embedding", "sentence_embedding"),
}
"""What a Dense must be to be ``encoder.projection``, and what a file that does not say means."""
LEAVE_OUT = "in a copy of the folder, take its entry out of modules.json to train without it"
UPPER = "The Red DOG ÀÉÖ ЖД ΑΩ"


@dataclass(frozen=True)
class Module:
    """A module of sentence-transformers: the name of its class, and its folder."""

    kind: str
    folder: Path


def modules_of(folder: Path) -> list[Module]:
    """Return the modules that ``modules.json`` lists; none where there is no such file.

    Raises:
        InputError: the file is no list of modules in this folder, or is missing beside the weights of a projection.
    """
    file = folder / "modules.json"
    if not file.exists():
        if (folder / PROJECTION_FOLDER).exists():
            raise InputError(
                f"{file}: expected the list of modules, as there is a {PROJECTION_FOLDER}; found no such file"
            )
        return []
    entries = read_json(file)
    modules = []
    for entry in entries if isinstance(entries, list) and entries else [None]:
        kind, path = (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
        if (
            not isinstance(kind, str)
            or not isinstance(path, str)
            or Path(path).is_absolute()
            or ".." in Path(path).parts
        ):
            raise InputError(f"{file}: expected modules, each with a type and a path inside the folder; found {entry}")
        own = "" if kind.startswith("sentence_transformers.") else f"{kind.rpartition('.')[0]}."
        modules.append(Module(f"{own}{kind.rpartition('.')[2]}", folder / path))
    return modules


def projection_folder(folder: Path) -> Path | None:
    """Return the folder of the layer after pooling; ``None`` where an encoder has none."""
    dense = [module.folder for module in modules_of(folder) if module.kind == "Dense"]
    return next((path for path in dense if path.name != TRUNCATE_FOLDER), None)


def check_modules(folder: Path, params: EncoderParams, token_ids: Callable[[str], list[int]]) -> None:
    """Compare the sentence-transformers files of a folder with the settings.

    Args:
        folder: of the encoder; one without ``modules.json`` has nothing to compare.
        params: the settings.
        token_ids: returns the token ids of a text.

    Raises:
        InputError: the folder has a module or a setting that ``params`` leave out or can't express; says what to do.
    """
    modules, file = modules_of(folder), folder / "modules.json"
    if not modules:
        _check_above(folder)
        return
    kinds = [module.kind for module in modules]
    for module in modules:
        if module.kind not in ORDER:
            raise InputError(f"{file}: {module.kind} has no counterpart in params.yaml, encoder; {LEAVE_OUT}")
    if kinds[0] != ORDER[0] or modules[0].folder != folder:
        raise InputError(
            f"{file}: expected a Transformer in the folder itself (path '') as the first module, found {kinds[0]} in "
            f"{modules[0].folder}; in a copy, move what is in that folder beside modules.json and set the path to ''"
        )
    dense = [module for module in modules if module.kind == "Dense"]
    layers = [module for module in dense if module.folder.name != TRUNCATE_FOLDER]
    alone = [kind for kind in kinds if kind != "Dense"]
    if kinds != sorted(kinds, key=ORDER.index) or len({*alone}) != len(alone) or (dense and "Pooling" not in kinds):
        raise InputError(f"{file}: expected {', '.join(ORDER)}, each once at most and in this order; found {kinds}")
    if len(layers) > 1:
        raise InputError(f"{file}: expected one Dense, encoder.projection; found {len(layers)}; {LEAVE_OUT}")
    for module in dense:
        _check_dense(module.folder, params)
    differences = [
        *_pooling(next((module.folder for module in modules if module.kind == "Pooling"), None), params),
        *_texts(folder, params, token_ids),
    ]
    if "Normalize" in kinds and not params.normalize:
        differences.append("it scales embeddings to length one, encoder.normalize is false")
    if differences:
        _say_once(f"{folder}: its sentence-transformers files differ from params.yaml: {'; '.join(differences)}")


def _check_above(folder: Path) -> None:
    """Raise an InputError for the Transformer inside a folder of the old layout that goes on with a Dense."""
    above = modules_of(folder.parent) if (folder.parent / "modules.json").exists() else []
    if folder in [module.folder for module in above] and "Dense" in [module.kind for module in above]:
        raise InputError(
            f"{folder}: expected an encoder folder, found a part of one whose Dense would be lost; in a copy of "
            f"{folder.parent}, move what is in {folder.name} beside modules.json, and let its path be ''"
        )


def _check_dense(folder: Path, params: EncoderParams) -> None:
    file = folder / "config.json"
    config = read_object(file)
    width = config.get("out_features")
    if folder.name == TRUNCATE_FOLDER:
        if width != params.dimensions:
            raise InputError(f"{file}: the folder's embeddings are cut: set encoder.dimensions to {width}; {LEAVE_OUT}")
        return
    for key, (wanted, default) in DENSE.items():
        if (found := config.get(key, default)) != wanted:
            raise InputError(
                f"{file}: {key}: expected {wanted}, as encoder.projection is a linear layer with bias after pooling; "
                f"found {found!r}; {LEAVE_OUT}"
            )
    if params.projection is None or params.projection.dimensions != width:
        now = params.projection and params.projection.dimensions
        raise InputError(
            f"{file}: the folder has a trained layer to {width} numbers, params.yaml: encoder.projection is {now}; set "
            f"it to {{dimensions: {width}, seed: 0}}, or {LEAVE_OUT}"
        )


def _pooling(folder: Path | None, params: EncoderParams) -> Iterator[str]:
    """Yield where a folder's pooling differs from the settings."""
    if folder is None:
        return
    config = read_object(folder / "config.json")
    modes = config.get("pooling_mode") or [mode for key, mode in LEGACY.items() if config.get(key)] or "mean"
    modes = modes if isinstance(modes, list) else [modes]
    if len(modes) != 1 or modes[0] not in list(POOLINGS):
        raise InputError(
            f"{folder / 'config.json'}: pooling {' + '.join(map(str, modes))}: expected one that encoder.pooling has "
            f"({', '.join(POOLINGS.values())}); in a copy of the folder, set one here to train with it"
        )
    if (theirs := POOLINGS[modes[0]]) != params.pooling:
        yield f"its pooling is {theirs}, encoder.pooling {params.pooling}"
    if params.pooling in MEANS and config.get("include_prompt", True) is not params.prompts.in_pooling:
        yield f"its include_prompt is not encoder.prompts.in_pooling, {params.prompts.in_pooling}"


def _texts(folder: Path, params: EncoderParams, token_ids: Callable[[str], list[int]]) -> Iterator[str]:
    """Yield where a folder begins, cuts or changes texts otherwise than the settings."""
    for file in sorted(folder.glob("sentence_*_config.json")):
        config = read_object(file)
        if config.get("do_lower_case") and token_ids(UPPER) != token_ids(UPPER.lower()):
            raise InputError(
                f"{file}: do_lower_case: texts are put into lower case, which no setting does; in a copy of the folder,"
                f" add the normaliser Lowercase to tokenizer.json, or set it to false to train without"
            )
        longest = config.get("max_seq_length")
        if isinstance(longest, int) and longest < params.max_length:
            yield f"it cuts texts to {longest} tokens, encoder.max_length is {params.max_length}"
    file = folder / "config_sentence_transformers.json"
    config: dict[str, Any] = read_object(file) if file.exists() else {}
    prompts, ours = config.get("prompts") or {}, PromptBook(params.prompts).named_prefixes().values()
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise InputError(f"{file}: prompts: expected prompts by name, found {prompts!r}")
    if (theirs := {text for text in prompts.values() if text}) and not theirs & set(ours):
        yield f"it has the prompts {sorted(theirs)[:2]}, encoder.prompts others"


@cache
def _say_once(line: str) -> None:
    logger.warning(line)
