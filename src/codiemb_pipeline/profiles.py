"""Parameter profiles: ``conf/profiles/base.yaml`` holds every key, a profile lists what it changes (docs/profiles.md).

A mapping in a profile is merged into the base's, key by key. A list replaces the base's, and so does a mapping whose
keys are names that the user chooses (``REPLACED``). ``extends: <profile>`` builds on that profile instead of the base.

``python -m codiemb_pipeline.profiles``: ``list``, ``show <name>``, ``use <name>``.
"""

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from codiemb_pipeline.command import run
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.jsonl import replace_text
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import PARAMS_FILE, read_params, write_yaml
from codiemb_pipeline.params.train import laid_over

FOLDER, BASE = Path("conf/profiles"), Path("conf/profiles/base.yaml")
REPLACED = (
    *("encoder.prompts.instructions", "ingest.sources", "assemble.caps", "train.sampler.source_weights"),
    *("train.sts.parts", "runs", "merge.recipes", "evaluate.benchmarks"),
)


def profile_titles(root: Path = Path()) -> dict[str, str]:
    """Return the first line of each profile of the project in ``root``, by the profile's name."""
    files = [file for file in sorted((root / FOLDER).glob("*.yaml")) if file.name != BASE.name]
    if not files:
        raise InputError(f"{(root / FOLDER).absolute()}: expected profiles, found none; run this in the project's root")
    return {file.stem: file.read_text(encoding="utf-8").partition("\n")[0] for file in files}


def read_profile(name: str, root: Path = Path()) -> dict[str, Any]:
    """Return all parameters under a profile of the project in ``root``.

    Raises:
        InputError: the profile does not exist, or its parameters are not valid; names its file.
    """
    if name not in (titles := profile_titles(root)):
        raise InputError(f"no profile {name!r} in {FOLDER}{nearest(name, titles)}")
    file = root / FOLDER / f"{name}.yaml"
    values = _merged(file)
    try:
        Params.parse(values)
    except InputError as error:
        raise InputError(str(error).replace("params.yaml:", f"{file}:")) from None
    return values


def _merged(file: Path, *extended_by: Path) -> dict[str, Any]:
    """Return a profile merged into what it extends; the base extends nothing."""
    if file in extended_by:
        raise InputError(f"{file}: extends: expected another profile, found one that extends this one")
    values = read_params(file)
    if file.name == BASE.name:
        return values
    below = _merged(file.parent / f"{values.pop('extends', BASE.stem)}.yaml", file, *extended_by)
    for key in REPLACED:
        *sections, last = key.split(".")
        over, under = (functools.reduce(_section, sections, tree) for tree in (values, below))
        if over.get(last) is not None:
            under[last] = None
    return laid_over(below, values)


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inside = values.get(name)
    return inside if isinstance(inside, Mapping) else {}


def render(name: str) -> str:
    """Return params.yaml under a profile, as text: the base file itself where the values are the same."""
    values = read_profile(name)
    if values == read_params(BASE):
        return BASE.read_text(encoding="utf-8")
    source = f"# Written by `make profile PROFILE={name}`. Each key: {BASE}; each change: {FOLDER / name}.yaml"
    return f"{profile_titles()[name]}\n{source}\n\n{write_yaml(values)}"


@click.group()
def main() -> None:
    """Settings for known encoders: show them, or write them to params.yaml."""


@main.command("list")
def list_profiles() -> None:
    """List the profiles; a star marks the one whose values params.yaml has."""
    titles, present = profile_titles(), read_params(PARAMS_FILE)
    for name, title in titles.items():
        star = "*" if read_profile(name) == present else " "
        click.echo(f"{star} {name:<{max(map(len, titles))}}  {title.removeprefix('# ')}")


@main.command()
@click.argument("name")
def show(name: str) -> None:
    """Print params.yaml under a profile."""
    click.echo(render(name), nl=False)


@main.command()
@click.argument("name")
def use(name: str) -> None:
    """Write params.yaml under a profile, and print what changed. Text that no profile gives is kept in another file."""
    text, present = render(name), read_params(PARAMS_FILE)
    for line in _changes(present, read_profile(name)):
        click.echo(f"  {line}")
    before = PARAMS_FILE.read_text(encoding="utf-8")
    if before not in map(render, profile_titles()):
        numbered = (Path(f"{PARAMS_FILE}.{number}") for number in itertools.count(1))
        kept = next(path for path in numbered if not path.exists())
        replace_text(kept, before)
        click.echo(f"the previous {PARAMS_FILE} is in {kept}")
    replace_text(PARAMS_FILE, text)
    click.echo(f"{PARAMS_FILE}: profile {name}")


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        before, after = (json.dumps(values[key], ensure_ascii=False) if key in values else "" for values in (old, new))
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from _changes(old[key], new[key], f"{above}{key}.")
        elif before != after:
            yield f"{above}{key}: {before or '(absent)'} -> {after or '(removed)'}"


if __name__ == "__main__":
    run(main)
