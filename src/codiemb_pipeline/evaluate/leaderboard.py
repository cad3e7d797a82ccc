"""Results in mteb's format, for its leaderboard: one file per task, and one that describes the model.

Files hold no date and no duration, so the same run gives the same bytes. Writing them does not import mteb.
"""

import json
from pathlib import Path
from typing import Any

from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.params.encoder import EncoderParams

DIGITS = 6  # mteb's own
TASK_FIELDS = ("dataset_revision", "task_name", "mteb_version", "scores", "evaluation_time", "kg_co2_emissions", "date",
               "evaluation_phases")  # fmt: skip
"""The fields of mteb's ``TaskResult``, in the order in which it writes them."""
CHANGING = ("evaluation_time", "kg_co2_emissions", "date", "evaluation_phases")


def task_entry(found: Any) -> dict[str, Any]:
    """Return mteb's ``TaskResult`` as JSON types, rounded, without what changes between runs."""
    entry = {**found.model_dump(), **dict.fromkeys(CHANGING)}
    return _rounded({name: entry[name] for name in TASK_FIELDS})


def model_entry(model: Any, encoder: Encoder, params: EncoderParams) -> dict[str, Any]:
    """Return mteb's ``ModelMeta`` of a model as JSON types, with what we know about the encoder.

    Args:
        model: our encoder behind mteb's protocol.
        encoder: its encoder, loaded.
        params: the ``encoder`` section.
    """
    from mteb.models.model_meta import ScoringFunction

    known = {
        "n_parameters": sum(parameter.numel() for parameter in encoder.model.parameters()),
        "embed_dim": encoder.model.output_width,
        "max_tokens": params.max_length,
        "similarity_fn_name": ScoringFunction.COSINE,
        "framework": ["Sentence Transformers", "PyTorch", "safetensors"],
        "use_instructions": any(params.prompts.instructions.values()),
    }
    meta = model.mteb_model_meta.model_copy(update=known)
    return json.loads(json.dumps(meta.to_dict(), default=str))  # as mteb's own cache writes it


def write_entries(folder: Path, model: str, entries: dict[str, Any]) -> None:
    """Write ``<task>.json`` and ``model_meta.json`` into ``folder``, laid out as mteb does.

    Args:
        folder: of the model.
        model: its name; models of equal weights share results but not the name.
        entries: ``task`` and ``model``, from the two functions above.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task = {field: entries["task"][field] for field in TASK_FIELDS}
    task["scores"] = _sorted(task["scores"])
    (folder / f"{task['task_name']}.json").write_text(json.dumps(task, indent=2), encoding="utf-8")
    meta = json.dumps(_sorted({**entries["model"], "name": name_for_mteb(model)}), indent=4)
    (folder / "model_meta.json").write_text(meta, encoding="utf-8")


def name_for_mteb(model: str) -> str:
    """Return a model's name with exactly one slash, as mteb requires."""
    return f"codiemb/{model.replace('/', '__')}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _sorted(value: Any) -> Any:
    """Return ``value`` with sorted keys: the same for a result of mteb and one of the cache."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(entry) for entry in value] if isinstance(value, list) else value
