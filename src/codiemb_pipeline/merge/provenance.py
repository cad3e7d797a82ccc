"""What is told of a merged encoder: all of it in its ``provenance.json``, the gist in ``summary.json``.

Knows nothing of how tensors were merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codiemb_pipeline.merge.align import Alignment
from codiemb_pipeline.merge.candidates import Candidate
from codiemb_pipeline.merge.kitchen import Written
from codiemb_pipeline.merge.rules import Rule
from codiemb_pipeline.params.merge import Recipe


def provenance(
    name: str,
    recipe: Recipe,
    rule: Rule,
    dev: float,
    candidates: Sequence[Candidate],
    written: Written,
    aligned: Alignment,
) -> dict[str, Any]:
    """Return how the encoder of recipe ``name`` came to be, as JSON types.

    ``candidates`` have their mean weights over all moved tensors; ``tensors`` the weights of each; ``kept_from_base``
    are those nobody moved, ``copied`` those that can't be merged, ``left_out`` those not in the result though a folder
    stores them, ``tied`` those left out because the tensor named beside them holds the same weights.
    """
    weights = written.table.mean_weights()
    return {
        "recipe": name,
        "method": recipe.method,
        "description": rule.description,
        "params": recipe.model_dump(mode="json", exclude={"method"}),
        "norm": rule.norm,
        "weights_sum_to_one": rule.sums_to_one,
        "dev": round(dev, 6),
        "candidates": [candidate.to_dict() | {"weight": weights[candidate.name]} for candidate in candidates],
        "layers": written.table.rows(),
        "tensors": written.tensors,
        "kept_from_base": written.kept_from_base,
        "copied": aligned.constant,
        "left_out": sorted(aligned.left_out),
        "tied": aligned.tied,
    }


def gist(provenance: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    """Return what ``summary.json`` tells of one recipe: its ingredients are the candidates with a weight."""
    summary = {key: provenance[key] for key in ("method", "params", "dev", "layers", "weights_sum_to_one")}
    summary["candidates"] = [candidate["name"] for candidate in provenance["candidates"]]
    summary["ingredients"] = [candidate["name"] for candidate in provenance["candidates"] if candidate["weight"] != 0]
    trials = [{"candidate": t.candidate, "dev": round(t.score, 6), "kept": t.kept} for t in rule.trials]
    return summary | ({"trials": trials} if trials else {})
