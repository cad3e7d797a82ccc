"""``python -m codiemb_pipeline.join``: what the second and further machines of a training run (docs/scale.md)."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from codiemb_pipeline.catalog_types import WORK_VARIABLE
from codiemb_pipeline.errors import PipelineError


@click.command()
@click.option("--idle-minutes", default=60.0, show_default=True, help="Stop when no training began for so long.")
def main(idle_minutes: float) -> None:
    """Join the trainings that the first machine runs in the work folder both see (CODIEMB_WORK, or data/.work)."""
    from codiemb_pipeline.train.join_node import join_trainings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    work = Path(os.environ.get(WORK_VARIABLE) or "data/.work").absolute()
    try:
        count = join_trainings(work, idle_s=60 * idle_minutes)
    except PipelineError as error:
        sys.exit(f"the last training joined failed: {error}")
    click.echo(f"{count} trainings joined; none began for {idle_minutes:g} minutes")


if __name__ == "__main__":
    main()
