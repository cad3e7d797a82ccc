"""A whole run that never happened: every file the report reads, with plausible numbers and fixed seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import frozen_params
import numpy as np
from fake_contamination import fake_contamination

from codiemb_pipeline.artifacts.evaluate import BenchmarkFacts, EmbeddingStats, EvaluationSummary, Geometry
from codiemb_pipeline.artifacts.merge import (
    Base,
    BestCheckpoint,
    Candidate,
    Layer,
    MergedModel,
    MergeSummary,
    Provenance,
    Trial,
)
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.report.facts import GitState, RunFacts
from codiemb_pipeline.report.inputs import ReportInputs
from codiemb_pipeline.report.sections_results import MEASURES

STEPS, EVERY = 180, 30
CANDIDATES = [f"main/step-{step:06d}" for step in range(EVERY, STEPS + 1, EVERY)]
METHODS = ["uniform", "greedy", "delta_guided"]
SCORES = {
    "base": [0.412, 0.498, 0.701, 0.812],
    "main/step-000180": [0.471, 0.641, 0.688, 0.801],
    "merged-uniform": [0.478, 0.646, 0.702, 0.815],
    "merged-greedy": [0.480, 0.649, 0.697, 0.808],
    "merged-delta_guided": [0.483, 0.648, 0.699, 0.810],
}
DEV = {"uniform": 0.571, "greedy": 0.574, "delta_guided": 0.579}
DOCUMENTS = [
    "SPARQL query builder for browsing linked data in RDF stores, with facets and full text search",
    "A survey of graph embeddings: from random walks to graph neural networks and knowledge graph completion",
    "Knowledge distillation of a large sentence encoder into a small one for semantic search",
    "Why word vectors of rare words are poor, and what to do about it",
    "Named entity linking with hyperlinks: a dataset built from an encyclopaedia’s own anchors and redirects",
    "Self-attention explained with pictures",
]


def build_fake_run(folder: Path) -> ReportInputs:
    """Write all that the other stages write, as far as the report reads it."""
    inputs = ReportInputs(
        sources=folder / "sources",
        hard_negatives=folder / "hard_negatives",
        model_input=folder / "examples",
        contamination=folder / "contamination.json",
        training_curves=folder / "training",
        merged=folder / "merged",
        evaluation=folder / "evaluation",
    )
    _ingest(inputs.sources)
    write_json(inputs.hard_negatives / "audit.json", {"sources": {"semanlink": _audit()}})
    write_json(inputs.model_input / "manifest.json", _manifest())
    write_json(inputs.contamination, fake_contamination())
    _curves(inputs.training_curves / "main")
    _merge(inputs.merged)
    _evaluate(inputs.evaluation)
    return inputs


def fake_facts(params: dict[str, Any] | None = None) -> RunFacts:
    """Return facts of that run; the parameters are the project's own."""
    own = frozen_params.params()
    seconds = {"ingest": 6.4, "mine": 71.2, "assemble": 11.8, "train": 402.6, "merge": 38.0, "evaluate": 131.5}
    return RunFacts(
        params=params or own,
        versions={"codiemb-pipeline": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "mteb": "2.26.24"},
        git=GitState(commit="9a6465a1c2d3", dirty=False),
        durations=seconds,
        hardware="2 cores, 23 GiB memory, Linux x86_64, Python 3.11.2",
    )


def _ingest(folder: Path) -> None:
    def pairs(rows: int, train: int, dev: int, test: int, rejected: int = 0, **filtered: int) -> dict[str, Any]:
        left = {key.replace("_", " "): number for key, number in filtered.items()}
        splits = {"train": train, "dev": dev, "test": test}
        return {"task": "sts", "rows": rows, "rejected": rejected, "filtered": left, "splits": splits}

    semanlink = {
        "task": "ir", "rows": 14102, "rejected": 0, "documents": 7128, "judgements": 18231,
        "splits": {"train": 1161, "dev": 163, "test": 330},
        "filtered": {"queries with relevant documents outside 2 to 60": 712, "documents whose title repeats": 31},
    }  # fmt: skip
    sources = {
        "semanlink": semanlink,
        "simlex999": pairs(999, 588, 104, 306, pairs_that_repeat=1),
        "wordsim353": pairs(353, 0, 0, 351, 1, pairs_that_repeat=1),
        "lee": pairs(1225, 0, 0, 1225),
    }
    write_json(folder / "counts.json", {"sources": sources})
    bad = {
        "source": "wordsim353",
        "file": "wordsim353.tsv",
        "row": 77,
        "field": "score",
        "reason": "'7,5' is no number",
    }
    write_jsonl(folder / "rejects.jsonl", [bad])


def _audit() -> dict[str, Any]:
    random = np.random.default_rng(0)
    edges = np.linspace(-0.2, 1.0, 61)
    groups = {"positives": (0.55, 0.14, 9800), "kept": (0.43, 0.09, 9131), "dropped": (0.62, 0.11, 6120),
              "not_sampled": (0.41, 0.09, 38011)}  # fmt: skip
    histogram = {
        name: np.histogram(np.clip(random.normal(mean, width, number), -0.2, 1), edges)[0].tolist()
        for name, (mean, width, number) in groups.items()
    }
    queries = ["SPARQL", "Graph embeddings", "Sentence embeddings", "Entity linking"]
    samples = [
        {
            "query_id": f"q{number}",
            "query": query,
            "positives": [
                {"doc_id": f"p{n}", "text": DOCUMENTS[(number + n) % 6], "score": 0.71 - n / 20} for n in range(5)
            ],
            "negatives": [
                {"doc_id": f"n{n}", "text": DOCUMENTS[(number + n + 2) % 6], "score": 0.52 - n / 30} for n in range(6)
            ],
        }
        for number, query in enumerate(queries)
    ]
    counts = {"queries": 1161, "documents": 7128, "positives": 9800, "negatives": 9131, "queries_with_fewer": 41,
              "queries_without_negatives": 3, "queries_without_positives": 0}  # fmt: skip
    neighbours = {"own_positive": 6204, "equal_text": 12, "outside_window": 0, "absolute_margin": 0,
                  "relative_margin": 6101, "repeated_text": 19, "not_sampled": 38011, "kept": 9131}  # fmt: skip
    return {
        "counts": counts,
        "neighbours": neighbours,
        "named": dict.fromkeys(neighbours, 0),
        "histogram": {"edges": [round(edge, 2) for edge in edges.tolist()], **histogram},
        "samples": samples,
    }


def _manifest() -> dict[str, Any]:
    def sizes(texts: int, tokens: int, full: int) -> dict[str, int]:
        return {"texts": texts, "tokens": tokens, "texts_at_max_length": full}

    ir = {"task": "ir", "examples": 1158, "positives": 7012, "negatives": 9131, "examples_without_negatives": 3}
    sts = {"task": "sts", "examples": 588, "positives": 588, "negatives": 0, "dropped": {}}
    train = {
        "semanlink": {
            **ir,
            **sizes(6903, 402113, 211),
            "dropped": {"positives_over_limit": 2788, "negatives_leaked": 0},
        },
        "simlex999": {**sts, **sizes(871, 2741, 0)},
    }
    dev_ir = {"task": "ir", "queries": 163, "documents": 7128, "qrels": 1711, "dropped": {}, **sizes(7290, 421007, 230)}
    dev_sts = {"task": "sts", "pairs": 104, "dropped": {}, **sizes(188, 590, 0)}
    total = {**sizes(8452, 430211, 241), "max_length": 128, "prompts": "5f2c"}
    return {"train": train, "dev": {"semanlink": dev_ir, "simlex999": dev_sts}, **total}


def _curves(folder: Path) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    for task, first in (("ir", 1), ("sts", 2)):
        rows = ["step,epoch," + ("info_nce,loss" if task == "ir" else "loss,mid_info_nce,pearson,pro,rank_kl")
                + ",tokens_per_second,padding,loader_share,learning_rate"]  # fmt: skip
        for step in range(first, STEPS + 1, 2):
            rate = 5e-5 * min(step / 18, (STEPS - step) / (STEPS - 18) if step > 18 else 1)
            fall, noise = np.exp(-step / 55), random.normal(0, 1, 5)
            if task == "ir":
                loss = 1.4 + 1.5 * fall + 0.13 * noise[0]
                values = [loss, loss]
            else:
                mid, pearson = 1.6 + 0.8 * fall + 0.1 * noise[0], 0.28 + 0.42 * fall + 0.05 * noise[1]
                pro, kl = 2.3 + 0.9 * fall + 0.08 * noise[2], 0.12 + 0.16 * fall + 0.015 * noise[3]
                values = [mid + 2 * pearson + 0.5 * pro + 5 * kl, mid, pearson, pro, kl]
            pace = (5200 if task == "ir" else 1900) * (1 + 0.04 * noise[4])
            values += [pace, 0.05 + 0.01 * abs(noise[1]), 0.01 + 0.004 * abs(noise[2]), rate]
            rows.append(f"{step},{(step - 1) // EVERY}," + ",".join(f"{value:.6g}" for value in values))
        (folder / f"{task}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["step,semanlink/ndcg_at_10,simlex999/cosine_spearman,ir,sts,mean"]
    for step, dev in _dev_by_step().items():
        ir, sts = dev - 0.088 + 0.004 * np.sin(step), dev + 0.088 - 0.004 * np.sin(step)
        rows.append(f"{step},{ir:.6f},{sts:.6f},{ir:.6f},{sts:.6f},{dev:.6f}")
    (folder / "dev.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _dev_by_step() -> dict[int, float]:
    return dict(zip(range(EVERY, STEPS + 1, EVERY), [0.512, 0.541, 0.557, 0.566, 0.569, 0.568], strict=True))


def _layers(method: str) -> list[Layer]:
    random = np.random.default_rng(2)
    rows: list[Layer] = []
    for place, label in enumerate(["embeddings", "pooler", *map(str, range(6))]):
        norms = np.linspace(0.3, 1.6, 6) * (0.4 + 0.12 * place) * (1 + 0.05 * random.normal(size=6))
        weights = {"uniform": np.full(6, 1 / 6), "greedy": np.array([0, 0, 0, 1, 1, 1]) / 3}.get(
            method, norms / norms.sum()
        )
        pooler = label == "pooler"
        rows.append(Layer(
            layer=label if not label.isdigit() else f"encoder.layer.{label}",
            label=label,
            number=int(label) if label.isdigit() else None,
            parameters=147840 if pooler else 1774464,
            weights=None if pooler else {n: float(w) for n, w in zip(CANDIDATES, weights, strict=True) if w},
            delta_norms={n: 0.0 if pooler else round(float(d), 6) for n, d in zip(CANDIDATES, norms, strict=True)},
        ))  # fmt: skip
    return rows


def _merge(folder: Path) -> None:
    words = {
        "uniform": "The plain mean of all candidates.",
        "greedy": "Candidates taken in the order of their dev score, each kept if the mean with it is no worse on dev.",
        "delta_guided": "Our reading of delta-guided fusion: a tensor’s weight is its share of the way from base.",
    }
    tried = [(150, 0.569, True), (180, 0.572, True), (120, 0.574, True), (90, 0.571, False), (60, 0.566, False),
             (30, 0.561, False)]  # fmt: skip
    trials = [Trial(candidate=f"main/step-{step:06d}", dev=dev, kept=kept) for step, dev, kept in tried]
    base, summary = Base(sha256="cd"), {}
    for method in METHODS:
        shared = {"method": method, "params": {}, "dev": DEV[method], "layers": _layers(method),
                  "weights_sum_to_one": True}  # fmt: skip
        greedy = method == "greedy"
        summary[method] = MergedModel(**shared, candidates=CANDIDATES, trials=trials if greedy else (),
                                      ingredients=CANDIDATES[3:] if greedy else CANDIDATES)  # fmt: skip
        Provenance(
            **shared, recipe=method, description=words[method], norm="l2", candidates=[], tensors={},
            kept_from_base=[], copied=[], base=base, sha256="ef",
        ).write(folder / method / "provenance.json")  # fmt: skip
    MergeSummary(
        base=base,
        candidates=[
            Candidate(name=name, run="main", step=step, sha256="ab", dev=dev)
            for name, (step, dev) in zip(CANDIDATES, _dev_by_step().items(), strict=True)
        ],
        best_checkpoint=BestCheckpoint(name="main/step-000150", dev=0.569),
        order=list(METHODS),
        methods=summary,
    ).write(folder / "summary.json")


def benchmark(type: str, source: str | None = None, **more: Any) -> BenchmarkFacts:
    """Return facts of a benchmark of ``source`` with the metric of its type."""
    metric = {"retrieval": "ndcg_at_10", "sts": "cosine_spearman"}[type]
    return BenchmarkFacts(type=type, metric=metric, **{"split": "test", "source": source, "size": {}, **more})


def evaluation_summary(
    models: dict[str, dict[str, float | None]], benchmarks: dict[str, BenchmarkFacts], order: list[str] | None = None
) -> EvaluationSummary:
    """Return what ``evaluate`` writes, models in the order given."""
    return EvaluationSummary(
        models=models, benchmarks=benchmarks, model_order=list(models), benchmark_order=order or list(benchmarks)
    )


def _evaluate(folder: Path) -> None:
    benchmarks = {
        "SemanlinkTags": benchmark("retrieval", "semanlink", size={"queries": 330, "documents": 7128}),
        "SimLex999": benchmark("sts", "simlex999", size={"pairs": 306}),
        "WordSim353": benchmark("sts", "wordsim353", size={"pairs": 291}),
        "LeeDocuments": benchmark("sts", "lee", size={"pairs": 1225}),
    }
    models = {model: dict(zip(benchmarks, scores, strict=True)) for model, scores in SCORES.items()}
    evaluation_summary(models, benchmarks).write(folder / "summary.json")
    values = {
        "base": [0.031, 0.842, -3.71, 241.3, 384, 0.921, 38.4, 0.447],
        "main/step-000180": [0.052, 0.611, -3.52, 212.9, 384, 0.899, 71.2, 0.462],
        "merged-uniform": [0.047, 0.640, -3.58, 219.0, 384, 0.905, 60.9, 0.455],
        "merged-greedy": [0.050, 0.622, -3.55, 215.4, 384, 0.902, 66.0, 0.458],
        "merged-delta_guided": [0.049, 0.628, -3.56, 217.2, 384, 0.903, None, 0.457],
    }
    keys = [measure.key for measure in MEASURES]
    stats = {model: EmbeddingStats(dimension=384, **dict(zip(keys, row, strict=True))) for model, row in values.items()}
    Geometry(texts=2000, token_texts=200, positive_pairs=1234, dimension=384, models=stats).write(
        folder / "geometry.json"
    )
