"""The settings that an artefact depends on: written into it, and compared at each use.

``dvc repro`` keeps artefacts up to date by itself; a folder that was copied, restored or edited by hand may not fit.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.encoder import EncoderParams

SETTINGS_FINGERPRINT = "made_under.json"
DEFAULTS = {"append_eos": False, "bidirectional": False, "projection": None, "dimensions": None}
"""Defaults of settings that older folders do not record."""


def embedding_settings(params: EncoderParams) -> dict[str, Any]:
    """Return the settings that an embedding depends on beside the weights; padding is not one of them."""
    kept = {"pooling", "normalize", "max_length", "append_eos", "bidirectional", "projection", "dimensions"}
    return {**params.model_dump(include=kept), "prompts": PromptBook(params.prompts).digest()}


def token_fingerprint(tokenizer: TextTokenizer) -> dict[str, Any]:
    """Return what token ids depend on beside the texts; vocabulary, normaliser and special tokens as a hash."""
    params, backend = tokenizer.params, tokenizer.backend.backend_tokenizer
    backend.no_truncation()  # encoding may have set either
    backend.no_padding()
    state = f"{backend.to_str()}{tokenizer.backend.eos_token_id}"
    return {
        "append_eos": params.append_eos,
        "max_length": params.max_length,
        "prompts": tokenizer.prompts.text_digest(),
        "tokenizer": hashlib.sha256(state.encode()).hexdigest(),
    }


def settings_fingerprint(tokenizer: TextTokenizer, base: str) -> dict[str, Any]:
    """Return what cosines of embeddings depend on beside the texts; ``base`` is the hash of the weights."""
    settings = embedding_settings(tokenizer.params)
    del settings["normalize"]  # does not change a cosine
    return {**settings, **token_fingerprint(tokenizer), "prompts": settings["prompts"], "weights": base}


def check_compatible(file: Path, wanted: Mapping[str, Any], *, what: str, stage: str) -> None:
    """Refuse an artefact that was made under other settings.

    Args:
        file: its fingerprint.
        wanted: the fingerprint it would get now.
        what: the artefact, in the plural, for the message.
        stage: the stage that makes it.

    Raises:
        InputError: the fingerprint is missing or differs; names the file, the key, both values and the remedy.
    """
    if not file.exists():
        raise InputError(
            f"{file}: expected the settings the {what} were made under, found no such file; make them again: "
            f"dvc repro --single-item --force {stage}"
        )
    advice = f"make the {what} again (dvc repro --single-item --force {stage}), or restore the setting"
    compare(read_json(file), wanted, where=str(file), advice=advice)


def compare(found: Mapping[str, Any], wanted: Mapping[str, Any], *, where: str, advice: str) -> None:
    """Raise an InputError at the first key of ``wanted`` that has another value in ``found``."""
    for key, value in wanted.items():
        made = found.get(key, DEFAULTS.get(key))
        if made != value:
            now = "the base encoder now has" if key in ("weights", "tokenizer") else "params.yaml, encoder now has"
            raise InputError(f"{where}: made under {key} = {_shown(made)}, but {now} {_shown(value)}; {advice}")


def _shown(value: Any) -> str:
    """Return a value as a line of JSON, and a hash by its first digits."""
    if isinstance(value, str) and len(value) == hashlib.sha256().digest_size * 2:
        return f"{value[:12]}..."
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
