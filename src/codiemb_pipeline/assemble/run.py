"""The assemble stage: sources and hard negatives become training arrays, dev sets, a token store and a manifest."""

import logging
from pathlib import Path

import numpy as np

from codiemb_pipeline.artifacts.assemble import DevCounts, Manifest, TrainCounts
from codiemb_pipeline.artifacts.ingest import origins_of, task_of
from codiemb_pipeline.assemble.contamination import Audit
from codiemb_pipeline.assemble.examples import source_examples
from codiemb_pipeline.assemble.model_input import TextRegister, TrainingSet, dev_set, write_tokens
from codiemb_pipeline.encoder.checkpoint import base_folder, load_tokenizer, weights_digest
from codiemb_pipeline.encoder.compatibility import (
    SETTINGS_FINGERPRINT,
    check_compatible,
    settings_fingerprint,
    token_fingerprint,
)
from codiemb_pipeline.jsonl import write_json
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
    """Write everything training reads (see :mod:`codiemb_pipeline.artifacts.assemble`).

    Args:
        params: the ``assemble`` section.
        encoder_params: the ``encoder`` section; its tokenizer is used, no weights are loaded.
        sources: the folder ``ingest`` wrote.
        hard_negatives: the folder ``mine`` wrote.
        out: folder to write into.
        audit: looks for benchmark texts among the training texts; ``None`` does not look.

    Raises:
        InputError: a source named in ``params`` does not exist or has no rows of its split, its files disagree, the
            hard negatives were mined by another encoder or under other settings, or the audit refuses what it found.
    """
    tasks = {name: task_of(sources, name) for name in (*params.train_sources, *params.dev_sources)}
    tokenizer = load_tokenizer(encoder_params)
    if any(tasks[name] == "ir" for name in params.train_sources):
        wanted = settings_fingerprint(tokenizer, weights_digest(base_folder(encoder_params)))
        check_compatible(hard_negatives / SETTINGS_FINGERPRINT, wanted, what="hard negatives", stage="mine")
    register = TextRegister()
    training = TrainingSet(register, tokenizer.prompts)
    train, dev = {}, {}
    for name in params.train_sources:
        examples, counts = source_examples(name, params, sources, hard_negatives, audit)
        if origins := origins_of(sources, name):
            counts["origins"] = origins
        train[name] = counts, training.add_source(examples)
        logger.info("assembled %s: %d examples", name, len(examples))
    if audit:
        audit.refuse()
    training.write(out / "train")
    for name in params.dev_sources:
        held_out, counts = dev_set(name, params, tokenizer.prompts, sources, register)
        held_out.write(out / "dev")
        dev[name] = counts, held_out.texts()
    lengths = write_tokens(register, tokenizer, out / "tokens")

    def sizes(lengths: np.ndarray) -> dict[str, int]:
        full = int((lengths >= encoder_params.max_length).sum())
        return {"texts": len(lengths), "tokens": int(lengths.sum()), "texts_at_max_length": full}

    manifest = Manifest(
        train={name: TrainCounts(**counts, **sizes(lengths[texts])) for name, (counts, texts) in train.items()},
        dev={name: DevCounts(**counts, **sizes(lengths[texts])) for name, (counts, texts) in dev.items()},
        **sizes(lengths),
        max_length=encoder_params.max_length,
        prompts=tokenizer.prompts.digest(),
    )
    manifest.write(out / "manifest.json")
    write_json(out / SETTINGS_FINGERPRINT, token_fingerprint(tokenizer))
    logger.info("assembled %d texts of %d tokens in all", manifest.texts, manifest.tokens)
