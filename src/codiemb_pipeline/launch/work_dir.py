"""The folder of work in progress: keyed by what decides its result, guarded by a lock, its jobs shared by processes.

DVC deletes a stage's outputs before it reruns the stage, so whatever must survive a kill lies here. The key is a
fingerprint of parameters, data and base weights: a run never takes another's files for its own (feasibility, 4).
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.process_guard import started_by_dvc

LOCK_PATIENCE_S = 20.0
FINISHED = "finished.json"


def fingerprint(**parts: Any) -> str:
    """Return a short hash of ``parts``, JSON values that decide a run's result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def locked(folder: Path, what: str, patience_s: float = LOCK_PATIENCE_S) -> Iterator[int]:
    """Hold ``folder`` for one run; yields the descriptor, which child processes may inherit to hold it as well.

    The lock file, ``<folder>.lock``, is never deleted: two processes could both acquire a lock whose file was replaced,
    and NFS does not delete a folder that holds an open file.

    Args:
        folder: made if it is missing.
        what: the work done there, for the error: ``training``.
        patience_s: seconds to wait for a run that is just ending.

    Raises:
        PipelineError: another run holds the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + patience_s
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise PipelineError(
                    f"{folder}: the same {what} is already running (process {holder}); wait for it or end it, then "
                    f"start again: it resumes where it was"
                )
            time.sleep(0.2)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        folder.mkdir(exist_ok=True)  # now: who held it before may have deleted it
        yield file.fileno()


_held: dict[Path, ExitStack] = {}


def hold(folder: Path, what: str) -> None:
    """Hold ``folder`` until this process ends; see :func:`locked`."""
    if folder not in _held:
        _held[folder] = ExitStack()
        _held[folder].enter_context(locked(folder, what))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Claims:
    """Job numbers 0, 1, 2, ... each handed out once, so that processes of one machine end at about the same time.

    Args:
        path: the file that holds the next number; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, count: int) -> Iterator[int]:
        """Yield the numbers below ``count`` that no other process was given."""
        while (number := self._next()) < count:
            yield number

    def _next(self) -> int:
        with self._path.open("a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed or the process ends
            file.seek(0)
            number = int(file.read() or 0)
            file.truncate(0)
            file.write(str(number + 1))
        return number


def finish(folder: Path, run: str = "") -> None:
    """End work in ``folder``: under DVC, which deletes outputs that it does not hold yet, it stays and is marked."""
    if started_by_dvc:
        write_json(folder / FINISHED, {"project": str(Path.cwd()), "run": run})
    else:
        shutil.rmtree(folder)


def remove_finished(kind: Path, run: str | None = None, *, but: str = "") -> None:
    """Remove the folders below ``kind`` whose work has ended and whose results DVC holds.

    It holds them when it starts a later stage of the same project, or the same stage for another key. What a person
    starts says nothing about DVC, and removes nothing.

    Args:
        kind: folder of one kind of work.
        run: of which run; ``None`` for all.
        but: name of a folder that stays.
    """
    if not started_by_dvc:
        return
    for marker in sorted(kind.glob(f"*/{FINISHED}")):
        found = read_json(marker)
        if found["project"] == str(Path.cwd()) and run in (None, found["run"]) and marker.parent.name != but:
            shutil.rmtree(marker.parent)
