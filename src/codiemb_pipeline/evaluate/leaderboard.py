"""Results in mteb's format, for its leaderboard: one file per task, and one that describes the model.

Files hold no date and no duration, so the same run gives the same bytes. Writing them does not import mteb.
"""

import json
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.evaluate import DIGITS
from codiemb_pipeline.params.encoder import EncoderParams

TASK_FIELDS = ("dataset_revision", "task_name", "mteb_version", "scores", "evaluation_time", "kg_co2_emissions", "date",
               "evaluation_phases")  # fmt: skip
"""The fields of mteb's ``TaskResult``, in the order in which it writes them."""
CHANGING = ("evaluation_time", "kg_co2_emissions", "date", "evaluation_phases")


def task_entry(found: Any) -> dict[str, Any]:
    """Return mteb's ``TaskResult`` as JSON types, rounded as mteb rounds it, without what changes between runs."""
    entry = {**found.model_dump(), **dict.fromkeys(CHANGING)}
    text = json.dumps({name: entry[name] for name in TASK_FIELDS})
    return json.loads(text, parse_float=lambda number: round(float(number), DIGITS))


def model_entry(model: Any, params: EncoderParams) -> dict[str, Any]:
    """Return mteb's ``ModelMeta`` of a ``MtebEncoder`` as JSON types, with what we know about its encoder."""
    from mteb.models.model_meta import ScoringFunction

    known = {
        "n_parameters": sum(parameter.numel() for parameter in model.encoder.model.parameters()),
        "embed_dim": model.encoder.model.output_width,
        "max_tokens": params.max_length,
        "similarity_fn_name": ScoringFunction.COSINE,
        "framework": ["Sentence Transformers", "PyTorch", "safetensors"],
        "use_instructions": any(params.prompts.instructions.values()),
    }
    meta = model.mteb_model_meta.model_copy(update=known)
    return json.loads(json.dumps(meta.to_dict(), default=str))  # as mteb's own cache writes it


def write_entries(folder: Path, model: str, entries: dict[str, Any]) -> None:
    """Write ``<task>.json`` and ``model_meta.json`` into a model's folder, laid out as mteb does.

    ``entries`` are ``task`` and ``model`` of the two functions above; models of equal weights share them, not the name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task = {field: entries["task"][field] for field in TASK_FIELDS}
    task["scores"] = json.loads(
        json.dumps(task["scores"], sort_keys=True)
    )  # the same for mteb's result and the cache's
    (folder / f"{task['task_name']}.json").write_text(json.dumps(task, indent=2), encoding="utf-8")
    meta = json.dumps({**entries["model"], "name": name_for_mteb(model)}, indent=4, sort_keys=True)
    (folder / "model_meta.json").write_text(meta, encoding="utf-8")


def name_for_mteb(model: str) -> str:
    """Return a model's name with exactly one slash, as mteb requires."""
    return f"codiemb/{model.replace('/', '__')}"
