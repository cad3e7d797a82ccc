"""params.yaml with a bundle in it becomes params.yaml with local paths: no stage knows that there are bundles."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codiemb_pipeline.bundle.manifest import Entry, check_files, read_manifest
from codiemb_pipeline.errors import InputError, nearest


def with_bundle(values: Mapping[str, Any], work: Path | None = None) -> dict[str, Any]:
    """Return the values of params.yaml with encoder, sources and benchmarks read from its ``bundle``.

    Args:
        values: all of params.yaml, sound or not: what is not as expected is left for the check of the parameters.
        work: the work folder, where files found whole are remembered; ``None`` reads them all.

    Raises:
        InputError: there is no bundle, a byte of it has changed, or it was made for something else.
    """
    if not isinstance(values.get("bundle"), str):
        return dict(values)
    bundle, values = Path(values["bundle"]).expanduser().absolute(), copy.deepcopy(dict(values))
    entries = read_manifest(bundle)
    check_files(bundle, entries, None if work is None else work / "bundle.json")
    held = {(entry.kind, entry.name): entry for entry in entries}
    encoder = values["encoder"]
    entry = _entry(held, "encoder", "encoder", asked_of_encoder(encoder), bundle)
    encoder |= {"path": str(bundle / entry.folder), "revision": None}
    for name, source in values["ingest"]["sources"].items():
        entry = _entry(held, "source", name, asked_of_source(source), bundle)
        source["path"] = str(bundle / entry.folder / entry.place)
    for name, benchmark in values["evaluate"]["benchmarks"].items():
        if benchmark.get("type") == "mteb":
            entry = _entry(held, "benchmark", name, asked_of_benchmark(benchmark), bundle)
            benchmark |= {"path": str(bundle / entry.folder), "revision": entry.revision}
    return values


def asked_of_encoder(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return which encoder params.yaml asks for."""
    return {"path": values.get("path"), "revision": values.get("revision")}


def asked_of_source(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return which source params.yaml asks for."""
    return {"registered": values.get("registered"), "path": values.get("path")}


def asked_of_benchmark(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return which data of a benchmark params.yaml asks for."""
    return {"path": values.get("path")}


def _entry(held: Mapping[tuple[str, str], Entry], kind: str, name: str, asked: dict[str, Any], bundle: Path) -> Entry:
    entry = held.get((kind, name))
    if entry is None:
        names = [other for of, other in held if of == kind]
        raise InputError(
            f"params.yaml: bundle: {bundle} holds no {kind} {name!r}{nearest(name, names)}; make it again for these "
            f"parameters"
        )
    if entry.asked != asked:
        raise InputError(
            f"params.yaml: bundle: {bundle} holds {kind} {name!r} of {entry.asked}, and {asked} is asked for; make it "
            f"again for these parameters"
        )
    return entry
