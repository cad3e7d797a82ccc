"""One of the processes torchrun starts: reads its configuration, works, and leaves word when it fails.

A failure goes to ``errors/rank-<r>.json`` in the configuration's ``folder`` for the launcher to show; the whole
traceback goes to the process's log.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import read_json, write_json

ERRORS = "errors"


def run_worker(work: Callable[[dict[str, Any]], None]) -> None:
    """Do ``work`` on the configuration named on the command line; end the process with 1 when it fails."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    config = read_json(Path(sys.argv[1]))
    try:
        work(config)
    except Exception as error:
        traceback.print_exc()
        # An error of a loader worker carries its whole traceback; its last line says what happened.
        reason = str(error).strip().splitlines()[-1:]
        what = str(error) if isinstance(error, PipelineError) else ": ".join([type(error).__name__, *reason])
        rank = int(os.environ.get("RANK", "0"))
        word = {"rank": rank, "what": what, "at": time.time()}
        write_json(Path(config["folder"]) / ERRORS / f"rank-{rank}.json", word)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # an interpreter that winds up under a group of processes still open may abort (pytorch 179291)


def forget_errors(folder: Path) -> None:
    """Delete the words that an earlier attempt in ``folder`` left."""
    for stale in (folder / ERRORS).glob("*.json"):
        stale.unlink()


def errors_in(folder: Path) -> list[dict[str, Any]]:
    """Return the words left in ``folder``, the first failure first."""
    return sorted((read_json(path) for path in (folder / ERRORS).glob("rank-*.json")), key=lambda error: error["at"])
