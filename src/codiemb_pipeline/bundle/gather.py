"""Makes a bundle: all that params.yaml asks for is fetched or found, copied, and listed with its SHA-256.

A bundle gets its name when it is complete. Downloads stay in the hub's cache, where another attempt finds them.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.repocard import metadata_load

from codiemb_pipeline.benchmarks.tables import location_of
from codiemb_pipeline.bundle.use import MANIFEST, BundledFile, Entry, Manifest, asked_of, bundled_sections
from codiemb_pipeline.encoder.checkpoint import base_folder
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.ingest.sources import locate
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.locations import file_sha256
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.requirements import Resource, required_resources

logger = logging.getLogger(__name__)


def gather(values: dict[str, Any], made_for: str, out: Path) -> Manifest:
    """Make the bundle of params.yaml's ``values`` in ``out``.

    Args:
        values: of a params.yaml; its own ``bundle`` is ignored.
        made_for: name of the profile, for the manifest.
        out: must not exist.

    Raises:
        InputError: ``out`` exists, or resources are not available; names all of them, and leaves nothing but the hub's
            cache.
    """
    if out.exists():
        raise InputError(f"{out}: expected no such folder yet; name another, or delete it")
    params = Params.parse({**values, "bundle": None})
    found, missing = [], []
    pairs = zip(required_resources(params), bundled_sections(values).items(), strict=True)
    for resource, ((kind, name), section) in pairs:
        try:
            found.append((resource, name, asked_of(kind, section), _path_of(resource, params)))
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


def _path_of(resource: Resource, params: Params) -> Path:
    """Return where a resource is on this machine, after fetching it from the hub if needed."""
    if resource.kind == "encoder":
        return base_folder(params.encoder)
    if resource.kind == "source":
        return locate(resource.name, params.ingest.sources[resource.name]).path
    location = location_of(resource.name, resource.path)
    if location.folder is not None:
        return location.folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(resource.hub_id, repo_type="dataset", revision=resource.revision))
    except Exception as error:
        raise location.unreadable(error) from error


def _copied(resource: Resource, name: str, asked: dict[str, Any], path: Path, bundle: Path) -> Entry:
    """Copy a resource into the bundle: links followed, without hidden files and Python's caches."""
    folder = Path("encoder") if resource.kind == "encoder" else Path(f"{resource.kind}s") / name
    logger.info("%s %s from %s", resource.kind, name, path)
    target = bundle / folder
    if path.is_file():
        target.mkdir(parents=True)
        shutil.copy(path, target / path.name)
    else:
        shutil.copytree(path, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    copies = sorted(target.rglob("*"))
    for copy in copies:
        os.chmod(copy, 0o755 if copy.is_dir() else 0o644)  # a package's files may be read-only
    return Entry(
        kind=resource.kind,
        name=name,
        folder=folder.as_posix(),
        place=path.name if path.is_file() else "",
        asked=asked,
        hub_id=resource.hub_id,
        revision=resource.revision,
        licence=resource.licence or licence_of(path),
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
