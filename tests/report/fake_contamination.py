"""What an audit might have found, in the format of ``assemble.audit``."""

from __future__ import annotations

from typing import Any


def finding(source: str, benchmark: str, training: str, text: str, counts: tuple[int, int, int], **more: Any) -> dict:
    """Return one finding without samples; ``counts`` are equal and near ones, and benchmark texts."""
    names = {"source": source, "benchmark": benchmark, "training": training, "text": text}
    numbers = dict(zip(("exact", "near", "benchmark_texts"), counts, strict=True))
    return {**names, **numbers, "shared": False, "samples": [], **more}


def fake_contamination(**changes: Any) -> dict[str, Any]:
    sample = {
        "exact": False,
        "training_id": "q1",
        "training_texts": ["Deep neural networks"],
        "benchmark_id": "q9",
        "benchmark_texts": ["Deep social networks"],
        "similarity": 0.5152,
        "estimate": 0.4961,
    }
    equal = {**sample, "exact": True, "training_texts": ["money"], "benchmark_texts": ["Money"], "estimate": None}
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
            finding("semanlink", "SemanlinkTags", "query", "query", (0, 39, 27), samples=[sample]),
            finding("simlex999", "SimLex999", "sentence", "sentence", (278, 0, 251), samples=[equal]),
        ],
        "removed": {},
    }
    return {**report, **changes}
