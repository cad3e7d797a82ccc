"""What a run takes: examples, steps, tokens, memory and disk.

The number of training examples of a source comes from the best evidence available: the examples that ``assemble``
wrote; the counts of ``ingest``; ``ingest`` itself, run here on small files; the number that the registry declares. Only
``assemble`` knows how many examples it removes.

Memory and disk are sums of sizes; neither GPU nor weights are needed. Bytes per parameter: 4 for the weight, 4 for the
gradient, 8 for AdamW's moments; DDP adds 4 for its buckets of gradients; FSDP shares the 16 among the processes and
adds 12 for gathered weights, gradients and their buffer; bf16 autocast adds 2 for the cast weight. Bytes per token and
layer: what back-propagation keeps, by Korthikanti et al. 2022 (arXiv 2205.05198), equation 1, without the attention
scores, which fused attention does not keep.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.artifacts.ingest import IngestCounts, SourceCounts
from codiemb_pipeline.encoder.backbone import backbone_outline
from codiemb_pipeline.encoder.checkpoint import base_folder, model_of
from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.locations import is_hub_id, resolve
from codiemb_pipeline.params import EncoderParams, IngestParams, Params, TrainParams
from codiemb_pipeline.params.ingest import SourceParams
from codiemb_pipeline.schema import Task
from codiemb_pipeline.train.loop import plan_of_epoch, total_steps

COUNTS = Path("data/02_intermediate/sources/counts.json")
MODEL_INPUT = Path("data/05_model_input/examples")
SMALL = 16 * 2**20
"""Bytes of the files, of all sources together, that are ingested to count them: a few seconds."""
PACKED = {".gz": 4, ".zip": 4, ".parquet": 4}  # uncompressed bytes per compressed byte
SAMPLE = 20_000  # examples per source whose lengths are averaged


@dataclass(frozen=True, kw_only=True)
class ExampleCount:
    """The number of training examples (queries or pairs) of a source.

    Attributes:
        evidence: where the number comes from, in words.
        approximate: whether the number is only close, such as a share of a declared one.
        lengths: mean tokens of queries (first texts), positives (second texts) and negatives, once assembled.
    """

    name: str
    task: Task
    examples: int
    evidence: str
    approximate: bool = False
    lengths: tuple[float, float, float] | None = None


def count_examples(
    params: Params, root: Path, written: Mapping[str, Any] | None = None
) -> tuple[list[ExampleCount], list[str], list[str]]:
    """Return the counts of the training sources, a sentence about each whose count is unknown, and what is wrong.

    Small sources that are not trained on are read too, for what is wrong with them.

    Results in the project's folder ``root`` that ``dvc.lock`` records under other settings than those of params.yaml as
    ``written`` are ignored.
    """
    names, changed = params.assemble.train_sources, _changed_sections(root, written or {})
    if not changed and (assembled := assembled_counts(root / MODEL_INPUT, names)):
        return assembled, [], []
    use_ingest = "ingest" not in changed and (root / COUNTS).exists()
    ingested = IngestCounts.read(root / COUNTS).sources if use_ingest else {}
    counts, unknown, wrong, bytes_left = [], [], [], SMALL
    for name in dict.fromkeys([*names, *params.ingest.sources]):
        source = params.ingest.sources[name]
        if name in ingested:
            count = _of_ingest(name, ingested[name], "counted by ingest")
        elif (size := _bytes_of(source)) <= bytes_left:
            bytes_left -= size
            try:
                count = _ingest_now(name, params.ingest)
            except InputError as error:
                wrong.append(str(error))
                continue
        elif (count := _declared(name, source)) is None:
            if name in names:
                unknown.append(f"examples of {name}: its files are not here, or large; `dvc repro ingest` counts them")
            continue
        if name not in names:
            continue
        if (cap := params.assemble.caps.get(name, count.examples)) < count.examples:
            evidence = f"{count.evidence}; cut by assemble.caps"
            count = replace(count, examples=cap, evidence=evidence, approximate=False)
        counts.append(count)
    return counts, unknown, wrong


def assembled_counts(model_input: Path, names: Sequence[str]) -> list[ExampleCount] | None:
    """Return the counts of what ``assemble`` wrote; ``None`` if it wrote nothing, or other sources than ``names``."""
    if not (model_input / "train" / "sources.json").exists():
        return None
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    if [source.name for source in arrays.sources] != list(names):
        return None
    counts = []
    for source in arrays.sources:
        size, lengths = source.stop - source.start, _lengths(arrays, store, source)
        name, task = source.name, source.task
        counts.append(ExampleCount(name=name, task=task, examples=size, evidence="as assembled", lengths=lengths))
    return counts


def _lengths(arrays: TrainingArrays, store: TokenStore, source: SourceRange) -> tuple[float, float, float]:
    examples = range(source.start, source.stop, max((source.stop - source.start) // SAMPLE, 1))
    positives = np.concatenate([arrays.positives(example) for example in examples])
    negatives = np.concatenate([arrays.negatives(example) for example in examples])
    query, positive, negative = (
        float(store.lengths(texts).mean()) if len(texts) else 0.0
        for texts in (arrays.query[examples.start : examples.stop : examples.step], positives, negatives)
    )
    return query, positive, negative


def _changed_sections(root: Path, written: Mapping[str, Any]) -> set[str]:
    """Return the sections that decide the examples and differ from those in ``dvc.lock``."""
    lock = root / "dvc.lock"
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    locked = {
        section: stages.get(stage, {}).get("params", {}).get("params.yaml", {}).get(section)
        for section, stage in {"ingest": "ingest", "assemble": "assemble", "encoder": "assemble"}.items()
    }
    return {name for name, value in locked.items() if name in written and value not in (None, written[name])}


def _of_ingest(name: str, counted: SourceCounts, evidence: str) -> ExampleCount:
    return ExampleCount(name=name, task=counted.task, examples=counted.splits["train"], evidence=evidence)


def _ingest_now(name: str, params: IngestParams) -> ExampleCount:
    """Count with the stage's own code: only its reader knows which rows of a file are examples of the train split."""
    with TemporaryDirectory() as folder:
        ingest_sources(params.model_copy(update={"sources": {name: params.sources[name]}}), Path(folder))
        counted = IngestCounts.read(Path(folder) / COUNTS.name).sources[name]
        return _of_ingest(name, counted, "counted now, as ingest does")


def _bytes_of(source: SourceParams) -> float:
    """Return the bytes of a source's files, uncompressed; infinity if they are not on this machine."""
    if source.path is None:
        return math.inf
    try:
        path = resolve(source.path, field="path")
    except InputError:
        return math.inf
    files = [file for file in [path, *sorted(path.rglob("*"))] if file.is_file()]
    return sum(file.stat().st_size * PACKED.get(file.suffix, 1) for file in files)


def _declared(name: str, source: SourceParams) -> ExampleCount | None:
    """Return the share of the registry's number that ``ingest`` puts into the train split; ``None`` without a number.

    ``limit`` applies before the split. With ``splits: null`` all examples count as train, though held-out files then
    use a part of the limit.
    """
    declared = TRAINING_SOURCES.get(source.registered)
    if declared is None:
        return None
    share = 1.0 if source.splits is None else source.splits.train
    changes = (source.path, source.revision, source.limit, source.documents_per_query)
    as_declared = share == 1.0 and all(change is None for change in changes)
    return ExampleCount(
        name=name,
        task=declared.task,
        examples=round(min(declared.examples, source.limit or math.inf) * share),
        evidence=f"declared: {declared.examples_from}",
        approximate=declared.examples_about or not as_declared,
    )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Steps (optimiser updates), examples of an epoch by source, and tokens of a run, on all processes.

    ``tokens_at_once`` are padded tokens that one process encodes at once with gradient.
    """

    steps_per_epoch: int
    steps: int
    drawn: Mapping[str, int]
    tokens: int
    tokens_at_once: int


def run_budget(counts: Sequence[ExampleCount], max_length: int, train: TrainParams, processes: int) -> Budget:
    """Return the steps and tokens of a run on ``processes``; texts of unknown length count ``max_length`` tokens.

    Raises:
        InputError: the sources do not fill a batch, or have too few examples for the sampler.
    """
    sources, stop = [], 0
    for count in counts:
        start, stop = stop, stop + count.examples
        sources.append(SourceRange(name=count.name, task=count.task, start=start, stop=stop))
    plan = plan_of_epoch(train, sources, 0, processes)
    steps, batch_sizes = total_steps(train, len(plan)), train.batch_size.model_dump()
    slots = np.bincount(plan.slot_source, minlength=len(sources)).tolist()
    drawn = {count.name: slot * batch_sizes[count.task] for count, slot in zip(counts, slots, strict=True)}
    per_example = {count.name: _tokens_of_example(count, max_length, train) for count in counts}
    tokens_per_epoch = sum(number * per_example[name] for name, number in drawn.items())
    at_once = max(batch_sizes[count.task] * per_example[count.name] for count in counts) / (1 - train.chunk.max_padding)
    return Budget(
        steps_per_epoch=len(plan),
        steps=steps,
        drawn=drawn,
        tokens=int(tokens_per_epoch * steps / max(len(plan), 1)),
        tokens_at_once=int(min(at_once, train.chunk.tokens) if train.grad_cache else at_once),
    )


def _tokens_of_example(count: ExampleCount, max_length: int, train: TrainParams) -> float:
    query, positive, negative = count.lengths or (max_length, max_length, max_length)
    if count.task == "sts":
        return query + positive
    return query + train.ir.positives * positive + train.ir.hard_negatives * negative


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """The size of a backbone; its feed-forward layers are ``gated`` if they have a third matrix."""

    parameters: int
    layers: int
    width: int
    feed_forward: int
    gated: bool


def model_size(params: EncoderParams, available: bool = True) -> ModelSize:
    """Return the size of a backbone from its configuration, which is fetched from the hub when it is not cached.

    Raises:
        InputError: the encoder is not ``available``, or no model can be built from its configuration.
    """
    if not available:  # the hub would be asked again, with a longer timeout
        enough = "a folder with its config.json and its own code is enough for the plan: set encoder.path to that"
        raise InputError(f"{params.path} is not available; {enough}")
    try:
        backbone = backbone_outline(_configuration(params), params)
    except Exception as error:  # whatever transformers, the hub or the model's own code raises
        raise InputError(f"params.yaml: encoder.path: {params.path}: size unknown: {first_line(error)}") from error
    text = backbone.config.get_text_config()
    return ModelSize(
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        layers=int(text.num_hidden_layers),
        width=int(text.hidden_size),
        feed_forward=int(text.intermediate_size),
        gated=any(".gate_" in name or ".w3." in name for name, _ in backbone.named_parameters()),
    )


def _configuration(params: EncoderParams) -> Path:
    """Return a folder with the configuration of an encoder, without its weights where it is on the hub."""
    if not is_hub_id(params.path):
        return base_folder(params)
    files = ("config.json", "*.py") if params.trust_remote_code else ("config.json",)
    return replace(model_of(params), allow=files).fetch(field="encoder.path", by_hand="set it to a folder")


def training_memory(size: ModelSize, train: TrainParams, *, processes: int, tokens: int) -> tuple[int, int]:
    """Return the bytes of one process of ``processes`` that encodes ``tokens`` padded tokens at once with gradient.

    They are those of weights, gradients and optimiser state with their buffers, and those that back-propagation keeps.
    The CUDA context (some hundred MB) is not included.
    """
    half, per_parameter = train.precision == "bf16", 16.0
    if processes > 1:
        per_parameter = 12 + 16 / processes if train.sharding == "fsdp" else 20.0
    model = int(size.parameters * (per_parameter + (2 if half else 0)))
    layer, layer_input = bytes_per_token(size, half=half), (2 if half else 4) * size.width
    recomputed = train.gradient_checkpointing
    return model, tokens * (size.layers * layer_input + layer if recomputed else size.layers * layer)


def bytes_per_token(size: ModelSize, *, half: bool) -> int:
    """Return the bytes that one layer keeps of a token for back-propagation."""
    in_half = 18 * size.width + (8 if size.gated else 4) * size.feed_forward
    return in_half if half else 2 * in_half


def disk_bytes(size: ModelSize, *, checkpoints: int, merged: int) -> int:
    """Return the disk of float32 models, in the workspace and in DVC's cache, and of one optimiser state.

    With reflinks the cache takes no disk of its own.
    """
    return (2 * 4 * (checkpoints + merged) + 8) * size.parameters


def training_flops(size: ModelSize, tokens: int, *, recomputed: bool) -> float:
    """Return the floating point operations of training: 6 for each parameter and token, 8 with recomputation."""
    return (8.0 if recomputed else 6.0) * size.parameters * tokens
