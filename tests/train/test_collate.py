import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from objective_params import TRAIN, ir_params, sampler_params

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.params.train import ChunkParams, TrainParams
from codiemb_pipeline.train.batch_plan import plan_epoch
from codiemb_pipeline.train.collate import PlannedBatches
from codiemb_pipeline.train.loop import Run, load_batches, plan_of_epoch

IR = ir_params(positives=2, hard_negatives=2)


@pytest.fixture
def folder(tmp_path):
    """Texts 0 to 9 of 2 to 11 tokens; text t consists of tokens 100 + t. Two queries, then four pairs."""
    TokenStore.write(tmp_path / "tokens", [[100 + t] * (t + 2) for t in range(10)], [0] * 10)
    sources = [SourceRange(name="r", task="ir", start=0, stop=2), SourceRange(name="p", task="sts", start=2, stop=6)]
    TrainingArrays.write(
        tmp_path / "train",
        query=[0, 1, 2, 3, 4, 2],
        positives=[[5, 6, 7], [5], [6], [7], [8], [9]],
        negatives=[[8], [], [], [], [], []],
        gold=[np.nan, np.nan, 0.0, 0.25, 0.5, 1.0],
        sources=sources,
    )
    return tmp_path


def batches(folder, epoch: int = 0) -> list:
    arrays, store = TrainingArrays(folder / "train"), TokenStore(folder / "tokens")
    options = {"world_size": 1, "accumulation": 1, "sampler": sampler_params(), "seed": 1, "epoch": epoch}
    plan = plan_epoch(arrays.sources, batch_sizes={"ir": 2, "sts": 4}, **options)
    chunk = ChunkParams(tokens=40, max_padding=0.2)
    padding = {"pad_id": 0, "padding_side": "right"}
    rest = {"ir": IR, "chunk": chunk, **padding, "process_rank": 0, "seed": 1, "epoch": epoch}
    dataset = PlannedBatches(plan, arrays=arrays, store=store, **rest)
    return [dataset[number] for number in range(len(dataset))]


def texts_of(batch, rows) -> list[int]:
    """Read the texts back from the chunks by their tokens."""
    first = [int(row[0]) - 100 for chunk in batch.chunks for row in chunk.input_ids]
    return [first[row] for row in rows]


def test_an_ir_batch_shows_positives_then_negatives_and_leaves_empty_slots(folder):
    ir = next(batch for batch in batches(folder) if batch.source == "r")
    queries = texts_of(ir, ir.query_rows)
    assert sorted(queries) == [0, 1]
    for row, query in enumerate(queries):
        ids = ir.document_ids[row].tolist()
        if query == 0:
            assert len(set(ids[:2])) == 2
            assert set(ids[:2]) <= {5, 6, 7}
            assert ids[2:] == [8, -1]
            assert ir.known_ids[row].tolist() == [5, 6, 7]
        else:
            assert ids == [5, -1, -1, -1]
            assert ir.known_ids[row].tolist() == [5, -1, -1]
    filled = ir.document_ids != -1
    assert texts_of(ir, ir.document_rows[filled].tolist()) == ir.document_ids[filled].tolist()


def test_a_text_that_stands_twice_is_encoded_once(folder):
    """Text 2 opens two of the four pairs, so eight places hold seven texts."""
    sts = next(batch for batch in batches(folder) if batch.source == "p")
    assert sum(len(chunk.input_ids) for chunk in sts.chunks) == 7
    a, b = texts_of(sts, sts.a_rows), texts_of(sts, sts.b_rows)
    gold = {(2, 6): 0.0, (3, 7): 0.25, (4, 8): 0.5, (2, 9): 1.0}
    assert {pair: float(value) for pair, value in zip(zip(a, b, strict=True), sts.gold, strict=True)} == gold


def test_tokens_and_padding_are_counted(folder):
    for batch in batches(folder):
        assert batch.tokens == sum(int(chunk.attention_mask.sum()) for chunk in batch.chunks)
        assert batch.padded == sum(chunk.input_ids.numel() for chunk in batch.chunks)


def test_what_an_example_shows_depends_on_the_epoch_and_nothing_else(folder):
    def shown(epoch: int) -> list[int]:
        ir = next(batch for batch in batches(folder, epoch) if batch.source == "r")
        return ir.document_ids[texts_of(ir, ir.query_rows).index(0), :2].tolist()

    assert shown(0) == shown(0)
    assert len({tuple(shown(epoch)) for epoch in range(8)}) > 1


def test_defect_4_a_similarity_batch_holds_only_the_texts_it_uses(folder):
    """The released code tokenised six passages for a pair and used one; here each text of the pairs stands once."""
    sts = next(batch for batch in batches(folder) if batch.source == "p")
    used = {*sts.a_ids.tolist(), *sts.b_ids.tolist()}
    assert sum(len(chunk.input_ids) for chunk in sts.chunks) == len(used)


def test_defect_4_batches_are_made_by_workers(folder, monkeypatch):
    """And it had none: texts were tokenised in the training process, which waited for them."""
    monkeypatch.setattr(PlannedBatches, "__getitem__", lambda self, number: torch.tensor(os.getpid()))
    train = TrainParams.parse(TRAIN | {"loader_workers": 1, "batch_size": {"ir": 2, "sts": 4}}, "train")
    arrays = TrainingArrays(folder / "train")
    encoder = SimpleNamespace(pad_id=0, params=SimpleNamespace(padding_side="right"))
    parts = dict.fromkeys(["model", "optimizer", "store", "folder", "events", "score"])
    run = Run(params=train, encoder=encoder, arrays=arrays, **parts)
    plan = plan_of_epoch(train, arrays.sources, 0, 1)
    assert os.getpid() not in [int(made_by) for made_by in load_batches(run, plan, 0, first_step=0)]


def test_the_ids_that_masks_compare_are_keys_whatever_prompt_or_case_and_each_text_is_encoded_all_the_same(folder):
    """Texts 0 and 1, 2 and 3, ... count as equal."""
    keys = [text // 2 for text in range(10)]
    TokenStore.write(folder / "tokens", [[100 + t] * (t + 2) for t in range(10)], [0] * 10, keys)
    ir, sts = sorted(batches(folder), key=lambda batch: batch.source, reverse=True)
    shown = ir.document_ids[ir.document_ids >= 0].tolist()
    rows = ir.document_rows[ir.document_ids >= 0]
    for ids, texts in (
        (ir.query_ids.tolist(), texts_of(ir, ir.query_rows)),
        (shown, texts_of(ir, rows)),
        (sts.a_ids.tolist(), texts_of(sts, sts.a_rows)),
        (sts.b_ids.tolist(), texts_of(sts, sts.b_rows)),
    ):
        assert ids == [text // 2 for text in texts]
    assert sorted(ir.known_ids.flatten().tolist()) == [-1, -1, 2, 2, 3, 3]
