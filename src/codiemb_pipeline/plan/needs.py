"""What params.yaml asks for: encoder, sources and benchmarks."""

from __future__ import annotations

from codiemb_pipeline.benchmarks.registry import spec_of
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.reach import Thing


def things_of(params: Params) -> list[Thing]:
    """Return everything the stages read from outside, in the order of the stages."""
    encoder = params.encoder
    hub = {"hub_id": encoder.path, "revision": encoder.revision}
    place = hub if is_hub_id(encoder.path) else {"path": encoder.path}
    things = [Thing(kind="encoder", name=encoder.path, **place)]
    things += [_source(name, params) for name in params.ingest.sources]
    for name, entry in params.evaluate.benchmarks.items():
        if entry.type == "mteb":
            spec = spec_of(name)
            hub = {"hub_id": spec.hub_id, "revision": spec.revision} if entry.path is None else {"path": entry.path}
            things.append(Thing(kind="benchmark", name=name, **hub))
    return things


def _source(name: str, params: Params) -> Thing:
    entry = params.ingest.sources[name]
    if entry.path is not None:
        return Thing(kind="source", name=name, path=entry.path)
    declared = TRAINING_SOURCES[entry.registered]
    obstacle = ""
    if declared.github is not None:
        obstacle = f"not on the hub: clone https://github.com/{declared.github} and set its path"
    elif not declared.confirmed or declared.revision is None:
        obstacle = f"not confirmed ({declared.hub_id}): fetch it yourself and set its path"
    return Thing(kind="source", name=name, hub_id=declared.hub_id, revision=declared.revision, obstacle=obstacle)
