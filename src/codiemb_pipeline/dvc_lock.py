"""``python -m codiemb_pipeline.dvc_lock`` (``make repair``): puts the last whole dvc.lock back.

DVC rewrites dvc.lock in place after each stage. A kill in that moment leaves a part, and DVC then refuses to run. Each
stage that DVC starts keeps a copy first, so that no more than the stage before it is missing; its result is still there
(:mod:`codiemb_pipeline.launch.work_dir`).
"""

import shutil
from pathlib import Path

import click
import yaml

from codiemb_pipeline.command import run
from codiemb_pipeline.jsonl import replace_text

LOCK, COPY = Path("dvc.lock"), Path(".dvc/tmp/codiemb/dvc.lock")


def is_whole(lock: Path = LOCK) -> bool:
    """Return whether a lock file can be read in whole, or is not there."""
    try:
        return not lock.exists() or "stages" in yaml.safe_load(lock.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError):
        return False


def keep_copy() -> None:
    """Keep a copy of the project's dvc.lock; called by a stage that DVC has started, while DVC writes nothing."""
    if LOCK.exists() and is_whole():
        replace_text(COPY, LOCK.read_text(encoding="utf-8"))


def restore() -> str:
    """Put the copy back if dvc.lock is damaged; return in words what was done. The damaged one is kept beside it."""
    if is_whole():
        return f"{LOCK} is whole: nothing was changed"
    damaged = LOCK.with_suffix(".lock.damaged")
    LOCK.replace(damaged)
    if not COPY.exists():
        return f"{LOCK} was damaged and is now {damaged}; there was no copy: DVC runs what its cache does not hold"
    shutil.copy(COPY, LOCK)
    return f"{LOCK} was damaged and is now {damaged}; the last whole copy is in its place: go on with `dvc repro`"


@click.command()
def main() -> None:
    """Put the last whole dvc.lock back, if a kill has left a part of one."""
    click.echo(restore())


if __name__ == "__main__":
    run(main)
