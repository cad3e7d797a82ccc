"""``python -m codiemb_pipeline.plan`` (``make plan``): what the present params.yaml will take, and what is missing."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.needs import things_of
from codiemb_pipeline.plan.reach import Looking


@click.command()
def main() -> None:
    """Tell examples, steps, tokens, memory, disk, and whether encoder, sources and benchmarks can be reached."""
    written = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params = Params.parse(with_bundle(written, Path("data/.work")))
    looking = Looking(things_of(params))
    from codiemb_pipeline.plan.lines import plan_lines  # torch takes seconds, in which the hub answers

    for text in plan_lines(params, written, Path(), looking):
        click.echo(text)
    found = looking.all()
    missing = sum(not entry.found for entry in found)
    click.echo(
        f"{missing} of {len(found)} things needed can't be reached" if missing else "all that is needed is there"
    )


if __name__ == "__main__":
    run(main)
