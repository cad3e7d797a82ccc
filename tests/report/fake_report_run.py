"""A whole run that never happened: every file the report reads, with plausible numbers and fixed seeds."""

from pathlib import Path
from typing import Any

import frozen_params
import numpy as np
import pandas as pd

from codiemb_pipeline.artifacts import merge
from codiemb_pipeline.artifacts.assemble import Contamination, Manifest
from codiemb_pipeline.artifacts.evaluate import BenchmarkFacts, EmbeddingStats, EvaluationSummary, Geometry
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.params import Params, ReportParams
from codiemb_pipeline.report.inputs import ReportInputs, RunFacts
from codiemb_pipeline.report.report import write_report

STEPS, EVERY = 180, 30
DEV_BY_STEP = dict(zip(range(EVERY, STEPS + 1, EVERY), [0.512, 0.541, 0.557, 0.566, 0.569, 0.568], strict=True))
CANDIDATES = [f"main/step-{step:06d}" for step in DEV_BY_STEP]
SCORES = {
    "base": [0.412, 0.498, 0.701, 0.812],
    "main/step-000180": [0.471, 0.641, 0.688, 0.801],
    "merged-uniform": [0.478, 0.646, 0.702, 0.815],
    "merged-greedy": [0.480, 0.649, 0.697, 0.808],
    "merged-delta_guided": [0.483, 0.648, 0.699, 0.810],
}
DEV = {"uniform": 0.571, "greedy": 0.574, "delta_guided": 0.579}


def build_fake_run(folder: Path) -> ReportInputs:
    """Write all that the other stages write, as far as the report reads it."""
    names = ("sources", "hard_negatives", "model_input", "training_curves", "merged", "evaluation")
    inputs = ReportInputs(**{name: folder / name for name in names}, contamination=folder / "contamination.json")
    _ingest(inputs.sources)
    write_json(inputs.hard_negatives / "audit.json", {"sources": {"semanlink": _audit()}})
    _manifest().write(inputs.model_input / "manifest.json")
    fake_contamination().write(inputs.contamination)
    _curves(inputs.training_curves / "main")
    _merge(inputs.merged)
    _evaluate(inputs.evaluation)
    return inputs


def render_page(inputs: ReportInputs, facts: RunFacts, out: Path) -> str:
    """Write the report of a run into ``out`` and return the page."""
    write_report(ReportParams(title="A fake run", mining_samples=2), facts, inputs, out)
    return (out / "report.html").read_text(encoding="utf-8")


def fake_facts() -> RunFacts:
    """Return facts of that run; the parameters are the frozen ones."""
    params = frozen_params.params()
    return RunFacts(
        params=params,
        trainings=Params.parse(params).trainings,
        versions={"codiemb-pipeline": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "mteb": "2.26.24"},
        git="9a6465a1c2d3",
        durations={"ingest": 6.4, "mine": 71.2, "assemble": 11.8, "train": 402.6, "merge": 38.0, "evaluate": 131.5},
        hardware="2 cores, 23 GiB memory, Linux x86_64, Python 3.11.2",
    )


def _ingest(folder: Path) -> None:
    repeated = {"pairs that repeat": 1}
    sources = {
        "semanlink": {"task": "ir", "rows": 14102, "documents": 7128, "judgements": 18231,
                      "splits": {"train": 1161, "dev": 163, "test": 330},
                      "filtered": {"queries with relevant documents outside 2 to 60": 712,
                                   "documents whose title repeats": 31}},
        "simlex999": {"task": "sts", "rows": 999, "splits": {"train": 588, "dev": 104, "test": 306},
                      "filtered": repeated},
        "wordsim353": {"task": "sts", "rows": 353, "splits": {"train": 0, "dev": 0, "test": 351}, "rejected": 1,
                       "filtered": repeated},
        "lee": {"task": "sts", "rows": 1225, "splits": {"train": 0, "dev": 0, "test": 1225}},
    }  # fmt: skip
    write_json(folder / "counts.json", {"sources": sources})
    rejected = {"source": "wordsim353", "file": "wordsim353.tsv", "row": 77, "field": "score", "reason": "no number"}
    write_jsonl(folder / "rejects.jsonl", [rejected])


def _audit() -> dict[str, Any]:
    def documents(score: float, number: int) -> list[dict[str, Any]]:
        return [{"doc_id": f"d{n}", "text": f"Document {n} on graphs", "score": score - n / 25} for n in range(number)]

    counts = {"queries": 1161, "documents": 7128, "positives": 9800, "negatives": 9131, "queries_with_fewer": 41,
              "queries_without_negatives": 3, "queries_without_positives": 0}  # fmt: skip
    neighbours = {"own_positive": 6204, "equal_text": 12, "relative_margin": 6101, "not_sampled": 38011, "kept": 9131}
    histogram = {
        "edges": [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        "positives": [0, 12, 340, 4210, 4801, 437],
        "kept": [0, 88, 3310, 5600, 133, 0],
        "dropped": [0, 5, 210, 3011, 2880, 14],
        "not_sampled": [0, 901, 17004, 19800, 306, 0],
    }
    samples = [
        {"query_id": query, "query": query, "positives": documents(0.71, 5), "negatives": documents(0.52, 6)}
        for query in ("SPARQL", "Graph embeddings", "Sentence embeddings")
    ]
    return {"counts": counts, "neighbours": neighbours, "named": {}, "histogram": histogram, "samples": samples}


def _manifest() -> Manifest:
    def sizes(texts: int, tokens: int, full: int) -> dict[str, int]:
        return {"texts": texts, "tokens": tokens, "texts_at_max_length": full}

    ir = {"task": "ir", "examples": 1158, "positives": 7012, "negatives": 9131, "examples_without_negatives": 3,
          "dropped": {"positives_over_limit": 2788, "negatives_leaked": 0}}  # fmt: skip
    sts = {"task": "sts", "examples": 588, "positives": 588, "negatives": 0, "dropped": {}}
    train = {"semanlink": ir | sizes(6903, 402113, 211), "simlex999": sts | sizes(871, 2741, 0)}
    dev_ir = {"task": "ir", "queries": 163, "documents": 7128, "qrels": 1711, "dropped": {}}
    dev_sts = {"task": "sts", "pairs": 104, "dropped": {}}
    dev = {"semanlink": dev_ir | sizes(7290, 421007, 230), "simlex999": dev_sts | sizes(188, 590, 0)}
    return Manifest(train=train, dev=dev, max_length=128, prompts="5f2c", **sizes(8452, 430211, 241))


def _curves(folder: Path) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    for task, start in (("ir", 1), ("sts", 2)):
        steps = np.arange(start, STEPS + 1, 2)
        curve = pd.DataFrame({"step": steps, "epoch": (steps - 1) // EVERY})
        parts = ["info_nce"] if task == "ir" else ["mid_info_nce", "pearson", "pro", "rank_kl"]
        for part in parts:
            curve[part] = 0.4 + 0.8 * np.exp(-steps / 55) + 0.05 * random.normal(size=len(steps))
        curve["loss"] = curve[parts].sum(axis=1)
        curve["tokens_per_second"] = 3000 * (1 + 0.04 * random.normal(size=len(steps)))
        curve["padding"] = 0.05 + 0.01 * random.random(len(steps))
        curve["loader_share"] = 0.01 + 0.004 * random.random(len(steps))
        curve["learning_rate"] = 5e-5 * np.minimum(steps / 18, (STEPS - steps) / (STEPS - 18))
        curve.to_csv(folder / f"{task}.csv", index=False)
    dev = pd.DataFrame({"step": list(DEV_BY_STEP), "mean": DEV_BY_STEP.values()})
    dev["ir"] = dev["semanlink/ndcg_at_10"] = dev["mean"] - 0.088
    dev["sts"] = dev["simlex999/cosine_spearman"] = dev["mean"] + 0.088
    dev.to_csv(folder / "dev.csv", index=False)


def finding(source: str, benchmark: str, training: str, text: str, counts: tuple[int, int, int], **more: Any) -> dict:
    """Return one finding without samples; ``counts`` are equal and near ones, and benchmark texts."""
    names = {"source": source, "benchmark": benchmark, "training": training, "text": text}
    numbers = dict(zip(("exact", "near", "benchmark_texts"), counts, strict=True))
    return {**names, **numbers, "shared": False, "samples": [], **more}


def fake_contamination(**changes: Any) -> Contamination:
    """Return what the audit of ``assemble`` might have found, with ``changes``."""
    near = {"exact": False, "training_id": "q1", "training_texts": ["Deep neural networks"], "similarity": 0.5152,
            "benchmark_id": "q9", "benchmark_texts": ["Deep social networks"], "estimate": 0.4961}  # fmt: skip
    equal = {**near, "exact": True, "training_texts": ["money"], "benchmark_texts": ["Money"], "estimate": None}
    report = {
        "mode": "report",
        "settings": {"act_on": ["query", "document", "pair"]},
        "benchmarks": {
            "SemanlinkTags": {"query": 458, "document": 2350},
            "SimLex999": {"pair": 305},
            "WordSim353": {"pair": 342},
            "LeeDocuments": {"pair": 1225},
        },
        "sources": {"semanlink": 1660, "simlex999": 604},
        "findings": [
            finding("semanlink", "SemanlinkTags", "negative", "document", (1553, 21, 1575), shared=True),
            finding("semanlink", "SemanlinkTags", "positive", "query", (4, 11, 18)),
            finding("semanlink", "SemanlinkTags", "query", "query", (0, 39, 27), samples=[near]),
            finding("simlex999", "SimLex999", "sentence", "sentence", (278, 0, 251), samples=[equal]),
        ],
    }
    return Contamination(**{**report, **changes})


def _layers(method: str) -> list[merge.Layer]:
    rows: list[merge.Layer] = []
    for number, label in enumerate(["embeddings", "pooler", *map(str, range(6))]):
        norms = np.linspace(0.3, 1.6, 6) * (0.4 + 0.12 * number)
        weights = {"uniform": np.full(6, 1 / 6), "greedy": np.array([0, 0, 0, 1, 1, 1]) / 3}
        shares = weights.get(method, norms / norms.sum()).tolist()
        moved = label != "pooler"
        rows.append(merge.Layer(
            layer=label,
            label=label,
            number=int(label) if label.isdigit() else None,
            parameters=1774464,
            weights={name: share for name, share in zip(CANDIDATES, shares, strict=True) if share} if moved else None,
            delta_norms=dict(zip(CANDIDATES, (norms * moved).tolist(), strict=True)),
        ))  # fmt: skip
    return rows


def _merge(folder: Path) -> None:
    tried = [(150, 0.569, True), (180, 0.572, True), (120, 0.574, True), (90, 0.571, False), (60, 0.566, False),
             (30, 0.561, False)]  # fmt: skip
    trials = [merge.Trial(candidate=f"main/step-{step:06d}", dev=dev, kept=kept) for step, dev, kept in tried]
    base, methods = merge.Base(sha256="cd"), {}
    for method, dev in DEV.items():
        shared = {"method": method, "description": f"How {method} merges.", "params": {}, "dev": dev}
        shared |= {"layers": _layers(method), "weights_sum_to_one": True}
        searched = {"trials": trials, "ingredients": CANDIDATES[3:]} if method == "greedy" else {}
        methods[method] = merge.MergedModel(
            **{**shared, "candidates": CANDIDATES, "ingredients": CANDIDATES, **searched}
        )
    merge.MergeSummary(
        base=base,
        candidates=[
            merge.Candidate(name=f"main/step-{step:06d}", run="main", step=step, sha256="ab", dev=dev)
            for step, dev in DEV_BY_STEP.items()
        ],
        best_checkpoint=merge.BestCheckpoint(name="main/step-000150", dev=0.569),
        order=list(DEV),
        methods=methods,
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
        "base": [0.031, 0.842, -3.71, 0.921, 241.3, 384, 38.4, 0.447],
        "main/step-000180": [0.052, 0.611, -3.52, 0.899, 212.9, 384, 71.2, 0.462],
        "merged-uniform": [0.047, 0.640, -3.58, 0.905, 219.0, 384, 60.9, 0.455],
        "merged-greedy": [0.050, 0.622, -3.55, 0.902, 215.4, 384, 66.0, 0.458],
        "merged-delta_guided": [0.049, 0.628, -3.56, 0.903, 217.2, 384, None, 0.457],
    }
    stats = {
        model: EmbeddingStats(**dict(zip(EmbeddingStats.model_fields, [*row, 384], strict=True)))
        for model, row in values.items()
    }
    geometry = Geometry(texts=2000, token_texts=200, positive_pairs=1234, dimension=384, models=stats)
    geometry.write(folder / "geometry.json")
