"""What a run reads from outside: the encoder, the sources and the benchmarks that params.yaml names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codiemb_pipeline.benchmarks.registry import spec_of
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params import Params


@dataclass(frozen=True, kw_only=True)
class Resource:
    """The encoder, a source or a benchmark.

    Attributes:
        kind: which of the three.
        name: as in params.yaml; the encoder's path.
        path: a file or folder, or ``package:...``; ``None`` for the hub.
        hub_id, revision: on the hub; ``None`` where there is none.
        licence: where the registry states one.
        obstacle: why it can't come from the hub; empty if nothing is known against it.
    """

    kind: Literal["encoder", "source", "benchmark"]
    name: str
    path: str | None = None
    hub_id: str | None = None
    revision: str | None = None
    licence: str | None = None
    obstacle: str = ""


def required_resources(params: Params) -> list[Resource]:
    """Return everything that the stages read from outside, in the order of the stages, the encoder first."""
    path, revision = params.encoder.path, params.encoder.revision
    location = {"hub_id": path, "revision": revision} if is_hub_id(path) else {"path": path}
    resources = [Resource(kind="encoder", name=path, **location)]
    for name, source in params.ingest.sources.items():
        declared, hub = TRAINING_SOURCES.get(source.registered), {}
        if source.path is None:
            hub = {"hub_id": declared.hub_id, "revision": declared.revision}
            if declared.github is not None:
                hub["obstacle"] = f"not on the hub: clone https://github.com/{declared.github} and set its path"
            elif not declared.confirmed or declared.revision is None:
                hub["obstacle"] = f"not confirmed ({declared.hub_id}): fetch it yourself and set its path"
        licence = declared.licence if declared else None
        resources.append(Resource(kind="source", name=name, path=source.path, licence=licence, **hub))
    for name, benchmark in params.evaluate.benchmarks.items():
        if benchmark.type == "mteb":
            spec = spec_of(name)
            location = {"hub_id": spec.hub_id, "revision": spec.revision}
            location = location if benchmark.path is None else {"path": benchmark.path}
            resources.append(Resource(kind="benchmark", name=name, **location))
    return resources
