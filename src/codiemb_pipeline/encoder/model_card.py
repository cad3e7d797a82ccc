"""The model card of a trained encoder: its base, its training data with their licences, and how to use it."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from codiemb_pipeline.artifacts.assemble import Manifest
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.registry import ENCODERS
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params import EncoderParams

TAGS = ["sentence-transformers", "sentence-similarity", "feature-extraction"]
NOT_KNOWN = "not known: read from files of your own"


def write_model_card(folder: Path, params: EncoderParams, manifest: Manifest) -> None:
    """Write ``README.md`` of an encoder trained on the sources of ``manifest``; a merged folder has the same one."""
    (folder / "README.md").write_text("\n".join(_lines(params, manifest)), encoding="utf-8")


def _lines(params: EncoderParams, manifest: Manifest) -> Iterator[str]:
    origins = [origin for source in manifest.train.values() for origin in source.origins]
    data_sets = [origin.repository for origin in origins if not origin.repository.startswith("github.com/")]
    on_hub = {"base_model": params.path} if is_hub_id(params.path) else {}
    head = {"library_name": "sentence-transformers", "pipeline_tag": TAGS[1], "tags": TAGS, **on_hub}
    yield "---"
    yield yaml.safe_dump({**head, "datasets": sorted(set(data_sets))}, sort_keys=False) + "---"
    at = f" at {params.revision}" if params.revision else ""
    licence = ENCODERS[params.path].licence if params.path in ENCODERS else "see its own card"
    yield "# One encoder for retrieval and similarity"
    yield f"\nBase: {params.path}{at}. Its licence: {licence}."
    yield (
        "\nTrained by CoDiEmb (arXiv 2508.11442) with codiemb-pipeline. Where `provenance.json` lies beside this file, "
        "the weights are merged from the checkpoints that it names."
    )
    yield "\n## Use\n\n```python\nfrom sentence_transformers import SentenceTransformer\n"
    yield 'model = SentenceTransformer("path/to/this/folder")'
    for name, prefix in PromptBook(params.prompts).named_prefixes().items():
        if name in ("query", "document", "sts"):
            yield f'model.encode(texts, prompt_name="{name}")  # {prefix!r}'
    yield "```\n\n## Training data\n"
    yield "Their licences, and that of the base, hold beside your own.\n"
    yield "| Source | Task | Examples | Repository | Revision | Licence |\n|---|---|---|---|---|---|"
    for name, source in manifest.train.items():
        start = f"| {name} | {source.task} | {source.examples:,} |"
        for origin in source.origins:
            yield f"{start} {origin.repository} | {origin.revision or 'not known'} | {origin.licence} |"
        if not source.origins:
            yield f"{start} | | {NOT_KNOWN} |"
    yield ""
