"""Whether what a run reads from outside is available: on this machine, in the hub's cache, or on the hub."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.locations import resolve
from codiemb_pipeline.plan.requirements import Resource

TIMEOUT_S = 5.0
"""Seconds that the hub has for an answer. Once it does not answer, it is not asked again."""


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
    """Look in the hub's cache, then on the hub, unless it is ``silent``; return that anew, with what was found."""
    repository = {"repo_type": "model" if resource.kind == "encoder" else "dataset", "revision": resource.revision}
    at = f"{resource.hub_id}@{(resource.revision or 'main')[:8]}"
    try:
        snapshot_download(resource.hub_id, local_files_only=True, **repository)
        return True, f"in the hub's cache: {at}", silent
    except LocalEntryNotFoundError:
        if silent:
            return False, f"{at} is not in the hub's cache; {silent}", silent
    try:
        HfApi().repo_info(resource.hub_id, timeout=TIMEOUT_S, **repository)
    except (HfHubHTTPError, ValueError) as error:  # a ValueError is about the id
        return False, f"{at}: refused by the hub: {first_line(error)}", ""
    except Exception as error:  # whatever the network raises
        silent = f"the hub does not answer: {first_line(error)}"
        return False, f"{at}: {silent}", silent
    return True, f"on the hub: {at}", ""
