"""Whether encoder, sources and benchmarks can be had: on this machine, in the hub's cache, or from the hub.

Downloads nothing. Knows nothing of how much there is of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codiemb_pipeline import locations
from codiemb_pipeline.errors import InputError

PATIENCE_S = 5.0
"""Seconds the hub has to answer, for all questions together."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something a run needs.

    Attributes:
        kind: ``encoder``, ``source`` or ``benchmark``.
        name: as params.yaml has it.
        path: a file or folder, or ``package:...``; ``None`` for the hub.
        hub_id: on the hub; ``None`` where there is none.
        revision: commit on the hub.
        obstacle: why it can't be had from the hub, in words; empty for nothing known.
    """

    kind: Literal["encoder", "source", "benchmark"]
    name: str
    path: str | None = None
    hub_id: str | None = None
    revision: str | None = None
    obstacle: str = ""


@dataclass(frozen=True)
class Reach:
    """Where a thing is, in words, and whether a run would find it."""

    thing: Thing
    found: bool
    where: str


def look(things: Iterable[Thing]) -> list[Reach]:
    """Return where each thing is, in the order given; asks the hub about all at once."""
    things = list(things)
    here = {place: _here(thing) for place, thing in enumerate(things)}
    asked = [place for place, reach in here.items() if reach is None]
    pool = ThreadPoolExecutor(max_workers=8)
    answers = {place: pool.submit(_ask_hub, things[place]) for place in asked}
    wait(answers.values(), timeout=PATIENCE_S)
    for place, answer in answers.items():
        silent = Reach(things[place], False, f"the hub did not answer within {PATIENCE_S:g} s")
        here[place] = answer.result() if answer.done() else silent
    pool.shutdown(wait=False, cancel_futures=True)
    return [here[place] for place in range(len(things))]


def _here(thing: Thing) -> Reach | None:
    """Return where a thing is on this machine; ``None`` when only the hub can tell."""
    if thing.path is not None:
        try:
            place = locations.resolve(thing.path, field=thing.name)
        except InputError as error:
            return Reach(thing, False, str(error))
        return Reach(thing, place.exists(), f"here: {thing.path}" if place.exists() else f"nothing at {thing.path}")
    if thing.obstacle or thing.hub_id is None:
        return Reach(thing, False, thing.obstacle or "on no hub")
    if (cached := _cached(thing)) is not None:
        return Reach(thing, True, f"in the hub's cache: {cached}")
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Reach(thing, False, f"{thing.hub_id} is not in the hub's cache, and HF_HUB_OFFLINE is set")
    return None


def _cached(thing: Thing) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    kind = "model" if thing.kind == "encoder" else "dataset"
    try:
        folder = snapshot_download(thing.hub_id, revision=thing.revision, repo_type=kind, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


def _ask_hub(thing: Thing) -> Reach:
    from huggingface_hub import HfApi

    kind = "model" if thing.kind == "encoder" else "dataset"
    at = f"{thing.hub_id}@{(thing.revision or 'main')[:8]}"
    try:
        HfApi().repo_info(thing.hub_id, repo_type=kind, revision=thing.revision, timeout=PATIENCE_S)
    except Exception as error:  # whatever the network or the hub says
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Reach(thing, False, f"{at}: not to be had from the hub: {reason}")
    return Reach(thing, True, f"on the hub: {at}")
