"""What a run reads from outside (encoder, sources, benchmarks), and whether it is available: here or on the hub."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from codiemb_pipeline.benchmarks.registry import spec_of
from codiemb_pipeline.encoder.checkpoint import NOT_LOADED
from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.locations import is_hub_id, resolve
from codiemb_pipeline.params import Params

TIMEOUT_S = 5.0
"""Seconds to wait for the hub. Once it does not answer, it is not asked again."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """The encoder (named by its path), a source or a benchmark; without ``path`` it comes from the hub.

    ``allow`` and ``ignore`` are patterns of its files on the hub, ``licence`` is the one that the registry states, and
    ``obstacle`` a known reason why the hub can't provide it.
    """

    kind: Literal["encoder", "source", "benchmark"]
    name: str
    path: str | None = None
    hub_id: str | None = None
    revision: str | None = None
    allow: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    licence: str | None = None
    obstacle: str = ""

    @property
    def repository(self) -> Repository:
        """The files on the hub."""
        kind = "model" if self.kind == "encoder" else "dataset"
        return Repository(self.hub_id, kind, self.revision, self.allow, self.ignore)


def required_resources(params: Params) -> list[Resource]:
    """Return everything that the stages read from outside, in the order of the stages, the encoder first."""
    path, revision = params.encoder.path, params.encoder.revision
    hub = {"hub_id": path, "revision": revision, "ignore": NOT_LOADED}
    where = hub if is_hub_id(path) else {"path": path}
    resources = [Resource(kind="encoder", name=path, **where)]
    for name, source in params.ingest.sources.items():
        declared, hub = TRAINING_SOURCES.get(source.registered), {}
        if source.path is None:
            hub = {"hub_id": declared.hub_id, "revision": declared.revision, "allow": declared.fetch}
            if declared.github is not None:
                hub["obstacle"] = f"not on the hub: clone https://github.com/{declared.github} and set its path"
            elif not declared.confirmed or declared.revision is None:
                hub["obstacle"] = f"not confirmed ({declared.hub_id}): fetch it yourself and set its path"
        licence = declared.licence if declared else None
        resources.append(Resource(kind="source", name=name, path=source.path, licence=licence, **hub))
    for name, benchmark in params.evaluate.benchmarks.items():
        if benchmark.type == "mteb":
            spec, path = spec_of(name), benchmark.path
            where = {"hub_id": spec.hub_id, "revision": spec.revision} if path is None else {"path": path}
            resources.append(Resource(kind="benchmark", name=name, **where))
    return resources


@dataclass(frozen=True)
class AvailabilityCheck:
    """Whether a run would find a resource, and where (or why not), in words."""

    resource: Resource
    found: bool
    where: str


def check_availability(resources: Iterable[Resource]) -> list[AvailabilityCheck]:
    """Look for each resource. Downloads nothing."""
    silent, checks = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "", []
    for resource in resources:
        found, where = False, resource.obstacle or "not on the hub"
        if resource.path is not None:
            try:
                resolve(resource.path, field=resource.name)
                found, where = True, f"here: {resource.path}"
            except InputError as error:
                where = str(error)
        elif resource.hub_id is not None and not resource.obstacle:
            found, where, silent = _on_hub(resource, silent)
        checks.append(AvailabilityCheck(resource, found, where))
    return checks


def _on_hub(resource: Resource, silent: str) -> tuple[bool, str, str]:
    """Look in the hub's cache, then on the hub; ``silent``, given and returned, is why the hub is not asked."""
    repository, at = resource.repository, f"{resource.hub_id}@{(resource.revision or 'main')[:8]}"
    if repository.is_cached():
        return True, f"in the hub's cache: {at}", silent
    if silent:
        return False, f"{at} is not in the hub's cache; {silent}", silent
    try:
        place = {"repo_type": repository.type, "revision": repository.revision}
        HfApi().repo_info(resource.hub_id, timeout=TIMEOUT_S, **place)
    except (HfHubHTTPError, ValueError) as error:  # a ValueError is about the id
        return False, f"{at}: refused by the hub: {first_line(error)}", ""
    except Exception as error:  # whatever the network raises
        silent = f"the hub does not answer: {first_line(error)}"
        return False, f"{at}: {silent}", silent
    return True, f"on the hub: {at}", ""
