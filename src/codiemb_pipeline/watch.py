"""``python -m codiemb_pipeline.watch``: digests of the files that params.yaml names.

DVC watches the paths that dvc.yaml lists; it cannot know which folders params.yaml names. The stage ``watch`` runs at
every ``dvc repro`` and writes digests, on which the other stages depend. The same content gives the same digest, and
nothing reruns.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.dvc_lock import keep_copy
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.locations import FileDigests, is_hub_id, resolve, work_folder
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import PARAMS_FILE, read_params
from codiemb_pipeline.process_guard import started_by_dvc

OUT = Path("data/.watch")


def watched(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the locations that params.yaml names for sources, encoder and benchmarks; those of the hub are pinned."""
    encoder = values["encoder"]["path"]
    locations = {
        "sources": [source.get("path") for source in values["ingest"]["sources"].values()],
        "encoder": [] if is_hub_id(encoder) else [encoder],
        "benchmarks": [benchmark.get("path") for benchmark in values["evaluate"]["benchmarks"].values()],
    }
    return {name: sorted(set(filter(None, paths))) for name, paths in locations.items()}


def digest_of(location: str, digests: FileDigests) -> str | None:
    """Return the digest of all files at ``location``, names included; ``None`` where nothing is."""
    try:
        path = resolve(location, field="")
    except InputError:
        return None  # the stage that reads it reports it
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.relative_to(path).as_posix()}\0{digests.of(file)}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        inside = (entry for entry in sorted(path.rglob("*")) if "__pycache__" not in entry.parts)
        yield from (entry for entry in inside if entry.is_file())


@click.command()
def main() -> None:
    """Write the digests of sources, encoder and benchmarks."""
    if started_by_dvc:
        keep_copy()
    work = work_folder()
    values = with_bundle(read_params(PARAMS_FILE), work)
    Params.parse(values)  # the first stage is the first that can refuse
    digests = FileDigests(work / "watch.json")
    for name, locations in watched(values).items():
        write_json(OUT / f"{name}.json", {location: digest_of(location, digests) for location in locations})
    digests.save()


if __name__ == "__main__":
    run(main)
