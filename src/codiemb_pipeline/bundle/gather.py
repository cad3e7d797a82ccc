"""Makes a bundle: everything params.yaml asks for is fetched or found, copied, and listed with its SHA-256.

All or nothing: a bundle lies under another name until it is whole. What the hub gave stays in its cache, so that a
second attempt goes on where the first ended.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codiemb_pipeline.benchmarks.places import place_of
from codiemb_pipeline.bundle.manifest import Entry, files_of, write_manifest
from codiemb_pipeline.bundle.use import asked_of_benchmark, asked_of_encoder, asked_of_source
from codiemb_pipeline.encoder.checkpoint import base_folder
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.ingest.origin import locate
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params import Params

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Something to be bundled, as :class:`Entry` has it, and the file or folder it lies in now."""

    kind: str
    name: str
    asked: dict[str, Any]
    path: Path
    hub_id: str | None = None
    revision: str | None = None
    licence: str | None = None


def gather(values: dict[str, Any], made_for: str, out: Path) -> list[Entry]:
    """Make the bundle of params.yaml's ``values`` in ``out``.

    Args:
        values: of a params.yaml or a profile; its own ``bundle`` is no matter.
        made_for: name of the profile, for the manifest.
        out: must not exist.

    Raises:
        InputError: ``out`` exists, or things can't be had; names all of them. Nothing is left behind but the hub's
            cache.
    """
    if out.exists():
        raise InputError(f"{out}: expected no such folder yet; name another, or delete it")
    origins, missing = [], []
    for find in _wanted(values):
        try:
            origins.append(find())
        except PipelineError as error:
            missing.append(str(error))
    if missing:
        raise InputError("\n".join([*missing, f"{len(missing)} things can't be had; no bundle was made"]))
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    entries = [_put(origin, draft) for origin in origins]
    write_manifest(draft, made_for, entries)
    draft.rename(out)
    return entries


def _wanted(values: dict[str, Any]) -> Iterator[Any]:
    """Yield a function for each thing asked for, which finds or fetches it."""
    params = Params.parse({**values, "bundle": None})
    yield lambda: _encoder(params, values)
    for name in params.ingest.sources:
        yield lambda name=name: _source(name, params, values)
    for name, entry in params.evaluate.benchmarks.items():
        if entry.type == "mteb":
            yield lambda name=name: _benchmark(name, values)


def _encoder(params: Params, values: dict[str, Any]) -> Origin:
    folder = base_folder(params.encoder)
    hub_id = params.encoder.path if is_hub_id(params.encoder.path) else None
    asked = asked_of_encoder(values["encoder"])
    revision = params.encoder.revision if hub_id else None
    return Origin(
        kind="encoder",
        name="encoder",
        asked=asked,
        path=folder,
        hub_id=hub_id,
        revision=revision,
        licence=licence_of(folder),
    )


def _source(name: str, params: Params, values: dict[str, Any]) -> Origin:
    entry = params.ingest.sources[name]
    _, path = locate(name, entry)
    asked = asked_of_source(values["ingest"]["sources"][name])
    if entry.registered is None:
        return Origin(kind="source", name=name, asked=asked, path=path)
    declared = TRAINING_SOURCES[entry.registered]
    hub = {"hub_id": declared.hub_id, "revision": declared.revision} if entry.path is None else {}
    return Origin(kind="source", name=name, asked=asked, path=path, licence=declared.licence, **hub)


def _benchmark(name: str, values: dict[str, Any]) -> Origin:
    asked = asked_of_benchmark(values["evaluate"]["benchmarks"][name])
    place = place_of(name, asked["path"])
    if place.folder is not None:
        return Origin(kind="benchmark", name=name, asked=asked, path=place.folder, licence=licence_of(place.folder))
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(place.spec.hub_id, repo_type="dataset", revision=place.spec.revision))
    except Exception as error:
        raise place.unreadable(error) from error
    hub = {"hub_id": place.spec.hub_id, "revision": place.spec.revision}
    return Origin(kind="benchmark", name=name, asked=asked, path=folder, licence=licence_of(folder), **hub)


def licence_of(folder: Path) -> str | None:
    """Return the licence that a folder's card (README.md) states, ``None`` when it states none."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    if not text.startswith("---"):
        return None
    try:
        head = yaml.safe_load(text.split("---", 2)[1])
    except (yaml.YAMLError, IndexError):
        return None
    licence = head.get("license") if isinstance(head, dict) else None
    return None if licence is None else ", ".join(licence) if isinstance(licence, list) else str(licence)


def _put(origin: Origin, bundle: Path) -> Entry:
    """Copy what ``origin`` names into the bundle, links followed, hidden files and Python's caches left behind."""
    folder = Path("encoder") if origin.kind == "encoder" else Path(f"{origin.kind}s") / origin.name
    logger.info("%s %s from %s", origin.kind, origin.name, origin.path)
    target = bundle / folder
    if origin.path.is_file():
        target.mkdir(parents=True)
        shutil.copy(origin.path, target / origin.path.name)
    else:
        shutil.copytree(origin.path, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for path in target.rglob("*"):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)  # a package's files may be read-only
    return Entry(
        kind=origin.kind,
        name=origin.name,
        folder=folder.as_posix(),
        place=origin.path.name if origin.path.is_file() else "",
        asked=origin.asked,
        hub_id=origin.hub_id,
        revision=origin.revision,
        licence=origin.licence,
        files=files_of(target),
    )
