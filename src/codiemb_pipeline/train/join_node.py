"""Joins this machine to trainings that another machine starts, found by watching the work folder both share.

A training's folder holds everything needed to join it.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.launch.torchrun import Rendezvous, run_torchrun
from codiemb_pipeline.params.launch import LaunchParams
from codiemb_pipeline.train.launch import RENDEZVOUS_FILE, training_work

POLL_S = 1.0

logger = logging.getLogger(__name__)


def join_trainings(work: Path, *, idle_s: float) -> int:
    """Join every training below ``work`` that waits for more machines, one after the other.

    Args:
        work: the work folder, at the same path on all machines.
        idle_s: seconds without a training after which to stop.

    Returns:
        How many trainings were joined and ended well.

    Raises:
        PipelineError: one failed, and no other began within ``idle_s``. The first machine reports why.
    """
    joined, seen, failure = 0, set(), None
    deadline = time.monotonic() + idle_s
    while time.monotonic() < deadline:
        for place in sorted((work / "train").glob(f"*/{RENDEZVOUS_FILE}")):
            found = _read(place)
            if found is None or found[0].id in seen:
                continue
            rendezvous, config = found
            seen.add(rendezvous.id)
            logger.info("joining the training in %s", place.parent)
            try:
                run_torchrun(rendezvous, training_work(config, place.parent))
            except PipelineError as error:
                logger.error("%s", error)
                failure = error
            else:
                joined, failure = joined + 1, None
                logger.info("the training in %s has ended", place.parent)
            deadline = time.monotonic() + idle_s
        time.sleep(POLL_S)
    if failure is not None:
        raise failure
    return joined


def _read(place: Path) -> tuple[Rendezvous, Path] | None:
    """Return the content of ``rendezvous.json``, or ``None`` if it has just been removed."""
    try:
        values = read_json(place)
    except InputError:  # removed since it was listed
        return None
    launch = LaunchParams.parse(values["launch"], "train.launch")
    return Rendezvous(launch, values["endpoint"], values["id"], first=False), Path(values["config"])
