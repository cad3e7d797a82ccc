"""``python -m codiemb_pipeline.bundle``: ``make [profile] --out <folder>``, ``check <folder>``."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from codiemb_pipeline.bundle.gather import gather
from codiemb_pipeline.bundle.use import Manifest, check_files
from codiemb_pipeline.command import run
from codiemb_pipeline.profiles import PARAMS_FILE, read_params, read_profile


@click.group()
def main() -> None:
    """Everything a run reads from outside, in one folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


@main.command()
@click.argument("profile", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make; bundles/<profile> when left out.")
def make(profile: str | None, out: Path | None) -> None:
    """Make the bundle of a profile, or of params.yaml."""
    values, name = (read_profile(profile), profile) if profile else (read_params(PARAMS_FILE), "params")
    target = (out or Path("bundles") / name).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _report(gather(values, name, target))
    click.echo(f"{target}: complete; where there is no network, set `bundle` in params.yaml to its path there")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Read every byte of a bundle and compare it with the manifest."""
    manifest = Manifest.read(folder)
    check_files(folder.absolute(), manifest)
    _report(manifest)
    click.echo(f"{folder}: complete and unchanged")


def _report(manifest: Manifest) -> None:
    for entry in manifest.entries:
        size = sum(file.bytes for file in entry.files)
        origin = f"{entry.hub_id}@{(entry.revision or '')[:8]}" if entry.hub_id else str(entry.asked["path"])
        licence = entry.licence or "no licence stated"
        click.echo(f"{entry.kind:<10} {entry.name}: {len(entry.files)} files, {size:,} bytes, {origin}, {licence}")


if __name__ == "__main__":
    run(main)
