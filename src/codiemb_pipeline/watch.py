"""``python -m codiemb_pipeline.watch``: digests of the files that params.yaml names.

DVC watches the paths that dvc.yaml lists; it cannot know which folders params.yaml names. The stage ``watch`` runs at
every ``dvc repro`` and writes digests, on which the other stages depend. The same content gives the same digest, and
nothing reruns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.locations import is_hub_id, resolve, work_folder

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


class Digests:
    """SHA-256 of files; one is read again only when its size or its time of change differs.

    Args:
        memory: a JSON file that remembers them.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[Any]] = read_json(memory) if memory.exists() else {}
        self._found: dict[str, list[Any]] = {}

    def of(self, location: str) -> str | None:
        """Return the digest of all that lies at ``location``, names included; ``None`` where nothing does."""
        try:
            path = resolve(location, field="")
        except InputError:
            return None  # the stage that reads it reports it
        digest = hashlib.sha256()
        for file in _files(path):
            digest.update(f"{file.relative_to(path).as_posix()}\0{self._of_file(file.absolute())}\n".encode())
        return digest.hexdigest()

    def save(self) -> None:
        """Remember the files seen."""
        write_json(self._memory, self._found)

    def _of_file(self, file: Path) -> str:
        state = file.stat()
        mark = [state.st_size, state.st_mtime_ns]
        known = self._known.get(str(file))
        if known is None or known[1:] != mark:
            with file.open("rb") as opened:
                known = [hashlib.file_digest(opened, "sha256").hexdigest(), *mark]
        self._found[str(file)] = known
        return known[0]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        inside = (entry for entry in sorted(path.rglob("*")) if "__pycache__" not in entry.parts)
        yield from (entry for entry in inside if entry.is_file())


@click.command()
def main() -> None:
    """Write the digests of sources, encoder and benchmarks."""
    work = work_folder()
    values = with_bundle(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")), work)
    digests = Digests(work / "watch.json")
    for name, locations in watched(values).items():
        write_json(OUT / f"{name}.json", {location: digests.of(location) for location in locations})
    digests.save()


if __name__ == "__main__":
    run(main)
