"""``python -m codiemb_pipeline.join``: what the second and further machines of a training run (docs/scale.md).

The first machine writes ``rendezvous.json`` into the folder of its training. All machines see that folder, which holds
everything needed to join.
"""

import logging
import sys
import time
from pathlib import Path

import click

from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.launch.torchrun import Rendezvous, run_torchrun
from codiemb_pipeline.locations import work_folder
from codiemb_pipeline.params.launch import LaunchParams
from codiemb_pipeline.train.run import RENDEZVOUS_FILE, training_work

POLL_S = 1.0

logger = logging.getLogger(__name__)


def join_trainings(work: Path, *, idle_s: float) -> int:
    """Join every training below ``work`` that waits for more machines, one after the other.

    Args:
        work: the work folder, at the same path on all machines.
        idle_s: seconds without a training after which to stop.

    Returns:
        The number of trainings that were joined and succeeded.

    Raises:
        PipelineError: one failed, and no other began within ``idle_s``. The first machine reports why.
    """
    joined, seen, failure = 0, set(), None
    deadline = time.monotonic() + idle_s
    while time.monotonic() < deadline:
        for file in sorted((work / "train").glob(f"*/{RENDEZVOUS_FILE}")):
            found = _read(file)
            if found is None or found[0].id in seen:
                continue
            rendezvous, config = found
            seen.add(rendezvous.id)
            logger.info("joining the training in %s", file.parent)
            try:
                run_torchrun(rendezvous, training_work(config, file.parent))
            except PipelineError as error:
                logger.error("%s", error)
                failure = error
            else:
                joined, failure = joined + 1, None
                logger.info("the training in %s has ended", file.parent)
            deadline = time.monotonic() + idle_s
        time.sleep(POLL_S)
    if failure is not None:
        raise failure
    return joined


def _read(file: Path) -> tuple[Rendezvous, Path] | None:
    try:
        values = read_json(file)
    except InputError:  # removed since it was listed
        return None
    launch = LaunchParams.parse(values["launch"], "train.launch")
    return Rendezvous(launch, values["endpoint"], values["id"], first=False), Path(values["config"])


@click.command()
@click.option("--idle-minutes", default=60.0, show_default=True, help="Stop when no training began for so long.")
def main(idle_minutes: float) -> None:
    """Join the trainings that the first machine runs in the shared work folder (CODIEMB_WORK, or data/.work)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        count = join_trainings(work_folder(), idle_s=60 * idle_minutes)
    except PipelineError as error:
        sys.exit(f"the last training joined failed: {error}")
    click.echo(f"{count} trainings joined; none began for {idle_minutes:g} minutes")


if __name__ == "__main__":
    main()
