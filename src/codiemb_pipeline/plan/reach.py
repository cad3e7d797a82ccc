"""Whether encoder, sources and benchmarks can be had: on this machine, in the hub's cache, or from the hub.

Downloads nothing. Knows nothing of how much there is of each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Literal

from codiemb_pipeline import locations
from codiemb_pipeline.errors import InputError, first_line

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


class Looking:
    """The search for things. The hub is asked about all at once and in the background, while other work goes on.

    Questions without an answer in time are left to themselves: they do not keep the process from ending.
    """

    def __init__(self, things: Iterable[Thing]) -> None:
        """Look on this machine, and begin to ask the hub about the rest."""
        self._things = list(things)
        self._found: dict[int, Reach] = {}
        self._asked: dict[int, Thread] = {}
        self._deadline = time.monotonic() + PATIENCE_S
        for place, thing in enumerate(self._things):
            if (reach := _here(thing)) is not None:
                self._found[place] = reach
            else:
                self._asked[place] = Thread(target=self._ask, args=(place,), daemon=True)
        for thread in self._asked.values():
            thread.start()

    def encoder(self) -> Reach:
        """Return where the encoder is; waits for the answer about it alone."""
        return self._reach(next(place for place, thing in enumerate(self._things) if thing.kind == "encoder"))

    def all(self) -> list[Reach]:
        """Return where each thing is, in the order given."""
        return [self._reach(place) for place in range(len(self._things))]

    def _ask(self, place: int) -> None:
        self._found.setdefault(place, _ask_hub(self._things[place]))

    def _reach(self, place: int) -> Reach:
        if place in self._asked:
            self._asked[place].join(max(self._deadline - time.monotonic(), 0))
        late = Reach(self._things[place], False, f"the hub did not answer within {PATIENCE_S:g} s")
        return self._found.setdefault(place, late)


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
        return Reach(thing, False, f"{at}: not to be had from the hub: {first_line(error)}")
    return Reach(thing, True, f"on the hub: {at}")
