"""``python -m codiemb_pipeline.profiles``: ``list``, ``show <name>``, ``use <name>``."""

from __future__ import annotations

from pathlib import Path

import click

from codiemb_pipeline.command import run
from codiemb_pipeline.profiles.exchange import Change
from codiemb_pipeline.profiles.switch import (
    PARAMS_FILE,
    current_profile,
    headline,
    profile_file,
    profile_files,
    use_profile,
)


@click.group()
def main() -> None:
    """Settings for known encoders: see them, and put one into params.yaml."""


@main.command("list")
def list_profiles() -> None:
    """Name the profiles; a star is before the one params.yaml has the values of."""
    files, current = profile_files(Path()), current_profile(Path())
    width = max(map(len, files))
    for name, file in files.items():
        click.echo(f"{'*' if name == current else ' '} {name:<{width}}  {headline(file)}")
    if current is None:
        click.echo(f"{PARAMS_FILE} has values of its own")


@main.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a profile."""
    click.echo(profile_file(Path(), name).read_text(encoding="utf-8"), nl=False)


@main.command()
@click.argument("name")
def use(name: str) -> None:
    """Give params.yaml the values of a profile; its own comments stay."""
    found = use_profile(Path(), name)
    for change in found:
        click.echo(_line(change))
    click.echo(f"{PARAMS_FILE}: profile {name}, {len(found)} values changed" + ("; see git diff" if found else ""))


def _line(change: Change) -> str:
    if change.before is None:
        return f"  + {change.key}: {change.after}"
    if change.after is None:
        return f"  - {change.key}"
    return f"  {change.key}: {change.before} -> {change.after}"


if __name__ == "__main__":
    run(main)
