"""Example numbers to tensors: chooses positives and negatives, and lays texts out in chunks for the encoder.

Runs in loader workers. The choice depends on (seed, epoch, example) alone, never on the worker. A text that occurs
several times in a batch is encoded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np
import torch
from torch.utils.data import Dataset

from codiemb_pipeline.artifacts.assemble import TokenStore, TrainingArrays
from codiemb_pipeline.encoder.tokens import TokenBatch, pad, plan_chunks
from codiemb_pipeline.params.encoder import PaddingSide
from codiemb_pipeline.params.objectives import IRParams
from codiemb_pipeline.params.train import ChunkParams
from codiemb_pipeline.schema import Task
from codiemb_pipeline.train.batch_plan import EpochPlan

NO_TEXT = -1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A micro-batch. ``chunks`` holds each text once; ``*_rows`` are row numbers of texts in the order of the chunks.

    Attributes:
        chunks: padded token batches.
        source: name of the source all examples are of.
        tokens: number of tokens in the chunks, padding not counted.
        padded: number of tokens with padding.
    """

    task: ClassVar[Task]
    chunks: list[TokenBatch]
    source: str
    tokens: int
    padded: int

    def to(self, device: torch.device) -> Self:
        """Return the batch on ``device``."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        return type(self)(**{**moved, "chunks": [chunk.to(device) for chunk in self.chunks]})


@dataclass(frozen=True, kw_only=True)
class IRBatch(Batch):
    """B queries with P slots for positives and H for hard negatives each; a slot may be empty.

    Attributes:
        query_rows: (B,).
        document_rows: (B, P + H); 0 in an empty slot.
        document_ids: keys of texts (``TokenStore.keys``), (B, P + H); ``NO_TEXT`` in an empty slot.
        query_ids: keys (B,).
        known_ids: keys of all a query's known positives, shown or not, (B, K), filled with ``NO_TEXT``.
        positives: P.
    """

    task: ClassVar[Task] = "ir"
    query_rows: torch.Tensor
    document_rows: torch.Tensor
    document_ids: torch.Tensor
    query_ids: torch.Tensor
    known_ids: torch.Tensor
    positives: int


@dataclass(frozen=True, kw_only=True)
class STSBatch(Batch):
    """n pairs.

    Attributes:
        a_rows, b_rows: (n,).
        a_ids, b_ids: keys of texts (n,).
        gold: float32 (n,), in [0, 1].
    """

    task: ClassVar[Task] = "sts"
    a_rows: torch.Tensor
    b_rows: torch.Tensor
    a_ids: torch.Tensor
    b_ids: torch.Tensor
    gold: torch.Tensor


@dataclass(frozen=True)
class _Layout:
    """Texts in chunks; ``rows`` gives the row of each text asked for."""

    chunks: list[TokenBatch]
    rows: np.ndarray
    tokens: int
    padded: int


class PlannedBatches(Dataset):
    """The micro-batches of one process in one epoch, by number; loaded by a standard DataLoader."""

    def __init__(
        self,
        plan: EpochPlan,
        *,
        arrays: TrainingArrays,
        store: TokenStore,
        ir: IRParams,
        chunk: ChunkParams,
        pad_id: int,
        padding_side: PaddingSide,
        process_rank: int,
        seed: int,
        epoch: int,
    ) -> None:
        self._plan, self._arrays, self._store = plan, arrays, store
        self._ir, self._chunk = ir, chunk
        self._pad_id, self._padding_side = pad_id, padding_side
        self._process_rank, self._seed, self._epoch = process_rank, seed, epoch

    def __len__(self) -> int:
        return len(self._plan) * self._plan.accumulation

    def __getitem__(self, number: int) -> IRBatch | STSBatch:
        step, micro_batch = divmod(number, self._plan.accumulation)
        source = self._plan.source(step, micro_batch, self._process_rank)
        examples = self._plan.examples(step, micro_batch, self._process_rank)
        build = self._ir_batch if source.task == "ir" else self._sts_batch
        return build(examples, source.name)

    def _ir_batch(self, examples: np.ndarray, source: str) -> IRBatch:
        slots = self._ir.positives + self._ir.hard_negatives
        documents = np.full((len(examples), slots), NO_TEXT, dtype=np.int64)
        known: list[np.ndarray] = []
        queries = self._arrays.query[examples]
        for row, example in enumerate(examples):
            generator = np.random.default_rng((self._seed, self._epoch, int(example)))
            positives, negatives = self._arrays.positives(example), self._arrays.negatives(example)
            shown = _some(positives, self._ir.positives, generator)
            hard = _some(negatives, self._ir.hard_negatives, generator)
            documents[row, : len(shown)] = shown
            documents[row, self._ir.positives : self._ir.positives + len(hard)] = hard
            known.append(self._store.keys(positives))
        filled = documents[documents != NO_TEXT]
        layout = self._layout(np.concatenate([queries, filled]))
        rows = np.zeros_like(documents)
        rows[documents != NO_TEXT] = layout.rows[len(queries) :]
        documents[documents != NO_TEXT] = self._store.keys(filled)
        return IRBatch(
            chunks=layout.chunks,
            source=source,
            tokens=layout.tokens,
            padded=layout.padded,
            query_rows=torch.from_numpy(layout.rows[: len(queries)]),
            document_rows=torch.from_numpy(rows),
            document_ids=torch.from_numpy(documents),
            query_ids=torch.from_numpy(self._store.keys(queries)),
            known_ids=torch.from_numpy(_filled(known)),
            positives=self._ir.positives,
        )

    def _sts_batch(self, examples: np.ndarray, source: str) -> STSBatch:
        texts_a = self._arrays.query[examples]
        texts_b = np.array([self._arrays.positives(example)[0] for example in examples], dtype=np.int64)
        layout = self._layout(np.concatenate([texts_a, texts_b]))
        return STSBatch(
            chunks=layout.chunks,
            source=source,
            tokens=layout.tokens,
            padded=layout.padded,
            a_rows=torch.from_numpy(layout.rows[: len(examples)]),
            b_rows=torch.from_numpy(layout.rows[len(examples) :]),
            a_ids=torch.from_numpy(self._store.keys(texts_a)),
            b_ids=torch.from_numpy(self._store.keys(texts_b)),
            gold=torch.from_numpy(self._arrays.gold[examples]),
        )

    def _layout(self, texts: np.ndarray) -> _Layout:
        unique, inverse = np.unique(texts, return_inverse=True)
        lengths = self._store.lengths(unique)
        plan = plan_chunks(lengths, tokens=self._chunk.tokens, max_padding=self._chunk.max_padding)
        rows, prompt_lengths = [self._store[int(text)] for text in unique], self._store.prompt_lengths(unique)
        chunks = [
            pad([rows[index] for index in chunk], prompt_lengths[chunk], self._pad_id, self._padding_side)
            for chunk in plan
        ]
        place = np.empty(len(unique), dtype=np.int64)
        place[np.concatenate(plan)] = np.arange(len(unique))
        padded = sum(chunk.input_ids.numel() for chunk in chunks)
        return _Layout(chunks, place[inverse], int(lengths.sum()), padded)


def _some(texts: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return ``count`` of the texts, or all where there are fewer, in random order."""
    return texts[generator.permutation(len(texts))[:count]]


def _filled(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return ragged rows as one array, filled up with ``NO_TEXT``."""
    filled = np.full((len(rows), max(map(len, rows))), NO_TEXT, dtype=np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled
