"""What torchrun starts, once per process: ``launch.worker <module>:<function> <config.json>``; records why it fails.

A failure goes to ``errors/rank-<r>.json`` in the configuration's ``folder``, where the launcher finds it; the whole
traceback goes to the process's log.
"""

import logging
import os
import sys
import time
import traceback
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.process_guard import die_with_parent

ERRORS = "errors"


def run_worker(function: str, file: Path) -> None:
    """Call ``function`` with the configuration in ``file``; end the process with 1 when it fails."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    config = read_json(file)
    try:
        resolve_name(function)(config)
    except Exception as error:
        traceback.print_exc()
        # An error of a loader worker carries its whole traceback; its last line says what happened.
        reason = str(error).strip().splitlines()[-1:]
        what = str(error) if isinstance(error, PipelineError) else ": ".join([type(error).__name__, *reason])
        rank = int(os.environ.get("RANK", "0"))
        failure = {"rank": rank, "what": what, "at": time.time()}
        write_json(Path(config["folder"]) / ERRORS / f"rank-{rank}.json", failure)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # an interpreter that ends with an open process group may abort (pytorch 179291)


def forget_errors(folder: Path) -> None:
    """Delete the failures that an earlier attempt recorded in ``folder``."""
    for stale in (folder / ERRORS).glob("*.json"):
        stale.unlink()


def errors_in(folder: Path) -> list[dict[str, Any]]:
    """Return the failures recorded in ``folder``, the first one first."""
    return sorted((read_json(path) for path in (folder / ERRORS).glob("rank-*.json")), key=lambda error: error["at"])


if __name__ == "__main__":
    die_with_parent()  # before the function's module imports torch, which takes seconds
    run_worker(sys.argv[1], Path(sys.argv[2]))
