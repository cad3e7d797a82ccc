"""Training texts per second, ours against sentence-transformers' own trainer, in one run.

Same rows, encoder, batch size, length, loss (InfoNCE with in-batch and hard negatives) and optimiser; one process, the
same number of CPU threads. Both show every query with one positive and the same hard negatives.

    python perf/train_speed.py --steps 20
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from torch.utils.data import DataLoader

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.artifacts.ingest import read_retrieval
from codiemb_pipeline.encoder.checkpoint import base_folder, load_encoder
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import read_params
from codiemb_pipeline.train.batch_plan import plan_epoch
from codiemb_pipeline.train.collate import PlannedBatches
from codiemb_pipeline.train.optimizer import adamw, freeze_unreached, set_learning_rate
from codiemb_pipeline.train.step import Objective, batch_loss

HARD_NEGATIVES = 4
RATE = 2e-5


def rows_of(params: Params, count: int) -> list[list[str]]:
    """Return [query, positive, negatives...] rows of the Semanlink training split, negatives drawn at random."""
    with tempfile.TemporaryDirectory() as folder:
        only = params.ingest.model_copy(update={"sources": {"semanlink": params.ingest.sources["semanlink"]}})
        ingest_sources(only, Path(folder))
        tables = read_retrieval(Path(folder), "semanlink")
    text = dict(zip(tables.corpus["doc_id"], tables.document_texts(), strict=True))
    queries = tables.of_split("train").head(count)
    first = tables.qrels.drop_duplicates("query_id").set_index("query_id")["doc_id"]
    generator, documents = np.random.default_rng(0), list(text.values())
    return [
        [query, text[first[query_id]], *generator.choice(documents, HARD_NEGATIVES, replace=False).tolist()]
        for query_id, query in zip(queries["query_id"], queries["text"], strict=True)
    ]


def run_ours(params: Params, rows: list[list[str]], batch: int) -> dict[str, float]:
    """Train with our loader and step; return seconds and shares."""
    encoder = load_encoder(params.encoder)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        unique = list(dict.fromkeys(text for row in rows for text in row))
        ids = {text: number for number, text in enumerate(unique)}
        TokenStore.write(place / "tokens", *encoder.tokenize(unique))
        TrainingArrays.write(
            place / "train",
            query=[ids[row[0]] for row in rows],
            positives=[[ids[row[1]]] for row in rows],
            negatives=[[ids[text] for text in row[2:]] for row in rows],
            gold=[np.nan] * len(rows),
            sources=[SourceRange(name="semanlink", task="ir", start=0, stop=len(rows))],
        )
        arrays, store = TrainingArrays(place / "train"), TokenStore(place / "tokens")
        sampler = params.train.sampler.model_copy(update={"mode": "dynamic", "steps_per_task": None})
        sampling = {"accumulation": 1, "sampler": sampler, "seed": 1, "epoch": 0}
        plan = plan_epoch(arrays.sources, batch_sizes={"ir": batch, "sts": 1}, world_size=1, **sampling)
        ir = params.train.ir.model_copy(update={"positives": 1, "hard_negatives": HARD_NEGATIVES})
        rest = {
            "ir": ir,
            "chunk": params.train.chunk,
            "pad_id": encoder.pad_id,
            "padding_side": "right",
            "process_rank": 0,
            "seed": 1,
            "epoch": 0,
        }
        loader = DataLoader(PlannedBatches(plan, arrays=arrays, store=store, **rest), batch_size=None, num_workers=1)
        return _train_ours(encoder, loader, Objective(ir=ir, sts=params.train.sts, mid_layer=None))


def _train_ours(encoder, loader: DataLoader, objective: Objective) -> dict[str, float]:
    first = next(iter(loader))
    freeze_unreached(encoder.model, encoder.model(first.chunks[:1])[0].sum())
    optimizer = adamw(encoder.model, weight_decay=0.01)
    set_learning_rate(optimizer, RATE)
    encoder.model.train()
    batches, tokens, padded, waited = iter(loader), 0, 0, 0.0
    batch = next(batches)  # the worker is up: both sides are timed without their start
    begin = time.perf_counter()
    while batch is not None:
        loss, _ = batch_loss(encoder.model, batch, objective)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens, padded = tokens + batch.tokens, padded + batch.padded
        waiting = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - waiting
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "padding": 1 - tokens / padded, "loader": waited / seconds}


def run_peer(params: Params, rows: list[list[str]], batch: int) -> dict[str, float]:
    """Train with SentenceTransformerTrainer; return the seconds of its training loop."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(str(base_folder(params.encoder)), device="cpu")
    model.max_seq_length = params.encoder.max_length
    names = ["anchor", "positive", *(f"negative_{number}" for number in range(HARD_NEGATIVES))]
    data = Dataset.from_dict({name: [row[place] for row in rows] for place, name in enumerate(names)})
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=batch,
            learning_rate=RATE,
            dataloader_num_workers=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            logging_strategy="no",
        )
        loss = MultipleNegativesRankingLoss(model, scale=1 / params.train.ir.temperature)
        trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss)
        return {"seconds": trainer.train().metrics["train_runtime"]}


def main() -> None:
    """Time both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    params = Params.parse(read_params(Path("params.yaml")), "")
    rows = rows_of(params, options.steps * options.batch)
    texts, ratios = sum(map(len, rows)), []
    print(f"{len(rows)} rows of {len(rows[0])} texts, batch {options.batch}, {torch.get_num_threads()} threads")
    for number in range(options.rounds):
        ours, peer = run_ours(params, rows, options.batch), run_peer(params, rows, options.batch)
        ratios.append(peer["seconds"] / ours["seconds"])
        print(
            f"round {number + 1}: ours {texts / ours['seconds']:.0f} texts/s (padding {ours['padding']:.1%} of tokens, "
            f"loader {ours['loader']:.1%} of the time), sentence-transformers {texts / peer['seconds']:.0f} texts/s, "
            f"ratio {ratios[-1]:.2f}"
        )
    print(f"median ratio {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")


if __name__ == "__main__":
    main()
