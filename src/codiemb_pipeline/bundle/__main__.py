"""``python -m codiemb_pipeline.bundle``: ``make [profile] --out <folder>``, ``check <folder>``.

To make a bundle, all that params.yaml asks for is fetched or found, copied, and listed with its SHA-256. A bundle gets
its name when it is complete. Downloads stay in the hub's cache, where another attempt finds them.
"""

import logging
import os
import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import yaml
from huggingface_hub.repocard import metadata_load

from codiemb_pipeline.benchmarks.data import location_of
from codiemb_pipeline.bundle.use import (
    MANIFEST,
    BundledFile,
    BundledOrigin,
    Entry,
    Manifest,
    bundled_sections,
    check_files,
    folder_of,
)
from codiemb_pipeline.command import run
from codiemb_pipeline.encoder.checkpoint import base_folder
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.ingest.sources import locate
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.locations import file_sha256
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import PARAMS_FILE, read_params
from codiemb_pipeline.plan.requirements import Resource, required_resources
from codiemb_pipeline.profiles import read_profile

logger = logging.getLogger(__name__)


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
        click.echo(f"{entry.kind:<10} {entry.name}: {len(entry.files)} files, {size:,} bytes")
        for origin in entry.origins:
            at = f"{origin.repository}@{(origin.revision or '')[:8]}" if origin.repository else entry.asked["path"]
            click.echo(f"{'':<10} {at}, {origin.licence or 'no licence stated'}")


def gather(values: dict[str, Any], made_for: str, out: Path) -> Manifest:
    """Make the bundle of params.yaml's ``values`` in ``out``; the manifest names ``made_for``, the profile.

    Raises:
        InputError: ``out`` exists, or resources are not available; names all of them, and leaves nothing but the hub's
            cache.
    """
    if out.exists():
        raise InputError(f"{out}: expected no such folder yet; name another, or delete it")
    params = Params.parse({**values, "bundle": None})
    found, missing = [], []
    by_name = (list(group) for _, group in groupby(required_resources(params), lambda one: (one.kind, one.name)))
    for resources, (kind, name, asked, _) in zip(by_name, bundled_sections(values), strict=True):
        try:
            found.append((kind, name, asked, _fetched(resources, params)))
        except PipelineError as error:
            missing.append(str(error))
    if missing:
        raise InputError("\n".join([*missing, f"{len(missing)} resources are not available; no bundle was made"]))
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    manifest = Manifest(made_for=made_for, entries=[_copied(*parts, draft) for parts in found])
    write_json(draft / MANIFEST, manifest.model_dump(mode="json"))
    draft.rename(out)
    return manifest


def _fetched(resources: list[Resource], params: Params) -> list[tuple[Path, BundledOrigin]]:
    """Return where the resources of one name are on this machine, after fetching them if needed, and their origins."""
    name = resources[0].name
    if resources[0].kind == "encoder":
        folders, commits = [base_folder(params.encoder)], [params.encoder.revision]
    elif resources[0].kind == "source":
        source = locate(name, params.ingest.sources[name])
        folders, commits = list(source.folders.values()), [origin.revision for origin in source.origins] or [None]
    else:
        folders, commits = [location_of(name, resources[0].path).place], [resources[0].revision]
    origins = [
        BundledOrigin(repository=one.repository, revision=commit, licence=one.licence or licence_of(folder))
        for one, folder, commit in zip(resources, folders, commits, strict=False)
    ]
    return list(zip(folders, origins, strict=True))


def _copied(
    kind: str, name: str, asked: dict[str, Any], found: list[tuple[Path, BundledOrigin]], bundle: Path
) -> Entry:
    """Copy files into the bundle: links followed, without hidden files and Python's caches."""
    folder = folder_of(kind, name)
    target = bundle / folder
    for path, _ in found:
        logger.info("%s %s from %s", kind, name, path)
        if path.is_file():
            target.mkdir(parents=True)
            shutil.copy(path, target / path.name)
        else:
            shutil.copytree(path, target, ignore=shutil.ignore_patterns(".*", "__pycache__"), dirs_exist_ok=True)
    copies = sorted(target.rglob("*"))
    for copy in copies:
        os.chmod(copy, 0o755 if copy.is_dir() else 0o644)  # a package's files may be read-only
    return Entry(
        kind=kind,
        name=name,
        folder=folder,
        place=path.name if path.is_file() else "",
        asked=asked,
        origins=tuple(origin for _, origin in found),
        files=[
            BundledFile(path=copy.relative_to(target).as_posix(), bytes=copy.stat().st_size, sha256=file_sha256(copy))
            for copy in copies
            if copy.is_file()
        ],
    )


def licence_of(folder: Path) -> str | None:
    """Return the licence that a folder's card (README.md) states, or ``None``."""
    try:
        licence = (metadata_load(folder / "README.md") or {}).get("license")
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return ", ".join(licence) if isinstance(licence, list) else licence and str(licence)


if __name__ == "__main__":
    run(main)
