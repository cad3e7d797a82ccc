"""The stage: sources and hard negatives become ``train.jsonl``, arrays of text ids, token ids and a manifest.

train.jsonl      TrainingExample.to_dict, a line per example, sources in the order of params, rows in theirs
manifest.json    {"train": {<source>: ...}, "dev": {<source>: ...}, "texts", "tokens", "max_length", "prompts"}
made_under.json  what token ids depend on beside the texts (encoder.compatibility)
tokens/ train/ dev/     see model_input
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codiemb_pipeline.artifacts.ingest import task_of
from codiemb_pipeline.assemble.audit import Audit
from codiemb_pipeline.assemble.dev_sets import dev_set
from codiemb_pipeline.assemble.mixture import source_examples
from codiemb_pipeline.assemble.tokens import TextRegister, write_tokens
from codiemb_pipeline.assemble.training_set import TrainingSet
from codiemb_pipeline.encoder.checkpoint import base_folder, load_tokenizer, weights_digest
from codiemb_pipeline.encoder.compatibility import (
    SETTINGS_FINGERPRINT,
    check_compatible,
    settings_fingerprint,
    token_fingerprint,
)
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.params.assemble import AssembleParams
from codiemb_pipeline.params.encoder import EncoderParams

logger = logging.getLogger(__name__)


def assemble(
    params: AssembleParams,
    encoder_params: EncoderParams,
    sources: Path,
    hard_negatives: Path,
    out: Path,
    audit: Audit | None = None,
) -> None:
    """Write everything training reads.

    Args:
        params: the ``assemble`` section.
        encoder_params: the ``encoder`` section; its tokenizer is used, no weights are loaded.
        sources: the folder ``ingest`` wrote.
        hard_negatives: the folder ``mine`` wrote.
        out: folder to write into.
        audit: looks for benchmark texts among the training texts; ``None`` for nobody.

    Raises:
        InputError: a source named in ``params`` does not exist or has no rows of its split, its files disagree, the
            hard negatives were mined by another encoder or under other settings, or the audit refuses what it found.
    """
    tasks = {name: task_of(sources, name) for name in (*params.train_sources, *params.dev_sources)}
    tokenizer = load_tokenizer(encoder_params)
    if any(tasks[name] == "ir" for name in params.train_sources):
        _check_hard_negatives(hard_negatives, tokenizer)
    register = TextRegister()
    training = TrainingSet(register, tokenizer.prompts)
    manifest: dict[str, Any] = {"train": {}, "dev": {}}
    used: dict[tuple[str, str], np.ndarray] = {}

    def training_rows() -> Iterator[dict[str, Any]]:
        for name in params.train_sources:
            examples, entry = source_examples(name, params, tokenizer.prompts, sources, hard_negatives, audit)
            manifest["train"][name] = entry
            used["train", name] = training.add_source(examples)
            logger.info("assembled %s: %d examples", name, len(examples))
            yield from (example.to_dict() for example in examples)

    write_jsonl(out / "train.jsonl", training_rows())
    if audit:
        audit.refuse()
    training.write(out / "train")
    for name in params.dev_sources:
        held_out, manifest["dev"][name] = dev_set(name, params, tokenizer.prompts, sources, register)
        held_out.write(out / "dev")
        arrays = (held_out.pairs,) if manifest["dev"][name]["task"] == "sts" else (held_out.queries, held_out.documents)
        used["dev", name] = np.unique(np.concatenate([array.ravel() for array in arrays]))
    lengths = write_tokens(register, tokenizer, out / "tokens")
    for (split, name), texts in used.items():
        manifest[split][name].update(_sizes(lengths[texts], encoder_params.max_length))
    totals = {**_sizes(lengths, encoder_params.max_length), "max_length": encoder_params.max_length}
    write_json(out / "manifest.json", {**manifest, **totals, "prompts": tokenizer.prompts.digest()})
    write_json(out / SETTINGS_FINGERPRINT, token_fingerprint(tokenizer))
    logger.info("assembled %d texts of %d tokens in all", totals["texts"], totals["tokens"])


def _check_hard_negatives(folder: Path, tokenizer: TextTokenizer) -> None:
    wanted = settings_fingerprint(tokenizer, weights_digest(base_folder(tokenizer.params)))
    check_compatible(folder / SETTINGS_FINGERPRINT, wanted, what="hard negatives", stage="mine")


def _sizes(lengths: np.ndarray, max_length: int) -> dict[str, int]:
    """Return how many different texts there are, their tokens, and how many fill ``max_length`` (so are mostly cut)."""
    full = int((lengths >= max_length).sum())
    return {"texts": len(lengths), "tokens": int(lengths.sum()), "texts_at_max_length": full}
