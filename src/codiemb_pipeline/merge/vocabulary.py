"""Whether encoder folders turn text into the same token ids; rows of merged embeddings would else mix tokens.

Compared are the tokens' ids (added ones too), the merges and scores of ``tokenizer.json`` (``vocab.txt`` where there is
none), and the special tokens and case of ``tokenizer_config.json``. Truncation and padding are a matter of use, and
versions of transformers write the rest in several ways. Knows nothing of weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json

TOKENIZER = "tokenizer.json"
VOCABULARY = "vocab.txt"
CONFIG = "tokenizer_config.json"
_SETTINGS = ("do_lower_case", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token",
             "eos_token", "add_bos_token", "add_eos_token")  # fmt: skip


def check_same_vocabulary(base: Path, candidates: Sequence[Path]) -> None:
    """Check that base and all candidates have the same tokens.

    Raises:
        InputError: one differs; names its file and the first token or setting that does.
    """
    _check_settings([base, *candidates])
    reference = next((folder for folder in (base, *candidates) if _file(folder)), None)
    if reference is None:
        return
    expected, seen = _tokens(_file(reference)), {_file(reference).read_bytes()}
    for folder in candidates:
        file = _file(folder)
        if file is None:
            raise InputError(f"{folder / TOKENIZER}: expected a tokenizer as {_file(reference)} has, found none")
        if file.read_bytes() not in seen:
            _check_tokens(file, _tokens(file), _file(reference), expected)
            seen.add(file.read_bytes())


def _file(folder: Path) -> Any:
    return next((folder / name for name in (TOKENIZER, VOCABULARY) if (folder / name).exists()), None)


def _tokens(file: Path) -> dict[str, Mapping[str, Any]]:
    """Return what two tokenizers are compared by, each part by token; a part the file does not tell is absent."""
    if file.name == VOCABULARY:
        # Not splitlines: some tokens are line breaks of other scripts.
        lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return {"token": {token: number for number, token in enumerate(lines)}}
    content = read_json(file)
    model = content.get("model") or {}
    vocabulary = model.get("vocab") or {}
    scores: dict[str, float] = {}
    if isinstance(vocabulary, list):  # Unigram: pairs of token and score, the place is the id
        scores = {token: round(score, 6) for token, score in vocabulary}
        vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
    added = {entry["content"]: entry["id"] for entry in content.get("added_tokens") or []}
    merges = [
        tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model.get("merges", [])
    ]
    return {
        "model": {"type": model.get("type")},
        "token": {**vocabulary, **added},
        "score of token": scores,
        "merge": {" ".join(merge): number for number, merge in enumerate(merges)},
    }


def _check_tokens(
    file: Path, found: Mapping[str, Mapping[str, Any]], reference: Path, expected: Mapping[str, Mapping[str, Any]]
) -> None:
    for part in [part for part in expected if part in found and expected[part] != found[part]]:
        for key in [*expected[part], *found[part]]:
            one, other = expected[part].get(key), found[part].get(key)
            if one != other:
                raise InputError(
                    f"{file}: {part} {key!r}: expected {one!r} as in {reference}, found {other!r}; models with "
                    f"different tokenizers can't be merged"
                )


def _check_settings(folders: Sequence[Path]) -> None:
    """Compare the settings that folders tell; not every version of transformers writes all of them."""
    known: dict[str, tuple[Any, Path]] = {}
    for folder in folders:
        file = folder / CONFIG
        settings = read_json(file) if file.exists() else {}
        for key in _SETTINGS:
            value = settings.get(key)
            value = value.get("content") if isinstance(value, dict) else value
            if value is None:
                continue
            expected, reference = known.setdefault(key, (value, file))
            if value != expected:
                raise InputError(
                    f"{file}: {key}: expected {json.dumps(expected)} as in {reference}, found {json.dumps(value)}; "
                    f"models with different tokenizers can't be merged"
                )
