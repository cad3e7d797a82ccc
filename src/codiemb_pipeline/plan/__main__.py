"""``python -m codiemb_pipeline.plan`` (``make plan``): what the present params.yaml takes, and what is missing."""

from __future__ import annotations

from pathlib import Path

import click

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.report import report_lines
from codiemb_pipeline.profiles import PARAMS_FILE, read_params


@click.command()
def main() -> None:
    """Report examples, steps, tokens, memory and disk, and whether encoder, sources and benchmarks are available."""
    written = read_params(PARAMS_FILE)
    params = Params.parse(with_bundle(written, Path("data/.work")))
    for line in report_lines(params, written, Path()):
        click.echo(line)


if __name__ == "__main__":
    run(main)
