"""Replaces the paths in params.yaml by those of a bundle, so that no stage has to know of bundles."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codiemb_pipeline.bundle.manifest import Manifest, check_files
from codiemb_pipeline.errors import InputError, nearest

ASKED = {"encoder": ("path", "revision"), "source": ("registered", "path"), "benchmark": ("path",)}
"""The keys that tell which data a section of params.yaml asks for."""


def with_bundle(values: Mapping[str, Any], work: Path | None = None) -> dict[str, Any]:
    """Return the values of params.yaml with encoder, sources and benchmarks read from its ``bundle``.

    Args:
        values: all of params.yaml, not yet checked.
        work: the work folder, which remembers the files that were found whole; ``None`` reads them all.

    Raises:
        InputError: there is no bundle, a byte of it has changed, or it was made for something else.
    """
    if not isinstance(values.get("bundle"), str):
        return dict(values)
    bundle, values = Path(values["bundle"]).expanduser().absolute(), copy.deepcopy(dict(values))
    manifest = Manifest.read(bundle)
    check_files(bundle, manifest, None if work is None else work / "bundle.json")
    held = {(entry.kind, entry.name): entry for entry in manifest.entries}
    for (kind, name), section in bundled_sections(values).items():
        entry, asked = held.get((kind, name)), asked_of(kind, section)
        if entry is None:
            found = f"no {kind} {name!r}{nearest(name, [other for of, other in held if of == kind])}"
        elif entry.asked != asked:
            found = f"{kind} {name!r} of {entry.asked}, but {asked} is asked for"
        else:
            section["path"] = str(bundle / entry.folder / entry.place)
            if kind != "source":
                section["revision"] = entry.revision if kind == "benchmark" else None
            continue
        raise InputError(f"params.yaml: bundle: {bundle} holds {found}; make it again for these parameters")
    return values


def bundled_sections(values: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the parts of params.yaml that a bundle serves, by kind and name."""
    sections = {("encoder", "encoder"): values["encoder"]}
    sections |= {("source", name): source for name, source in values["ingest"]["sources"].items()}
    benchmarks = values["evaluate"]["benchmarks"].items()
    return sections | {("benchmark", name): entry for name, entry in benchmarks if entry.get("type") == "mteb"}


def asked_of(kind: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return which data a section asks for."""
    return {key: section.get(key) for key in ASKED[kind]}
