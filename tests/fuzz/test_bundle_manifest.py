"""Mutated bundles: right, or an InputError.

Oracles: an audit hook sees every file that is opened, written, moved or removed, and none lies outside the bundle; what
is accepted has the SHA-256 that its manifest states, computed here, and every path that a stage gets lies in it.
"""

import copy
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import frozen_params
from hypothesis import event, given
from hypothesis import strategies as st

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.errors import InputError
from fuzz.trees import at, places

VALUES = frozen_params.params()
FILES = {"encoder": ("config.json", "2_Dense/weights"), "sources/lee": ("pairs.csv",)}
SEEN: list[str] | None = None
WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")


def _watch(name: str, arguments: tuple) -> None:
    if SEEN is not None and name in WATCHED:
        SEEN.extend(os.fsdecode(path) for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike))


sys.addaudithook(_watch)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Give the paths that are opened or changed meanwhile, without those of Python's own modules."""
    global SEEN  # noqa: PLW0603
    SEEN = seen = []
    try:
        yield seen
    finally:
        SEEN = None
        seen[:] = [path for path in seen if path.startswith("/") and not path.endswith((".py", ".pyc"))]


def parameters(bundle: Path) -> dict[str, Any]:
    values = copy.deepcopy(VALUES) | {"bundle": str(bundle)}
    values["ingest"]["sources"] = {"lee": values["ingest"]["sources"]["lee"] | {"splits": None, "reader": "pairs"}}
    values["ingest"]["sources"]["lee"]["columns"] = {"text_a": "a", "text_b": "b", "score": "c"}
    values["assemble"] |= {"train_sources": ["lee"], "dev_sources": ["lee"]}
    values["train"]["sampler"]["steps_per_task"] = None
    values["evaluate"]["benchmarks"] = {"Lee": {"type": "sts", "source": "lee", "split": "test"}}
    return values


def write_bundle(folder: Path) -> dict[str, Any]:
    """Write a bundle that :func:`parameters` fit, a folder beside it, and return the content of the manifest."""
    shutil.rmtree(folder.parent, ignore_errors=True)
    entries = []
    for inside, names in FILES.items():
        files = []
        for name in names:
            (folder / inside / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside / name).write_text(name)
            files.append({"path": name, "bytes": len(name), "sha256": hashlib.sha256(name.encode()).hexdigest()})
        kind, name = ("encoder", "encoder") if inside == "encoder" else ("source", "lee")
        part = VALUES["encoder"] if kind == "encoder" else VALUES["ingest"]["sources"]["lee"] | {"registered": None}
        keys = ("path", "revision") if kind == "encoder" else ("registered", "path", "revision")
        asked = {key: part.get(key) for key in keys}
        entry = {"kind": kind, "name": name, "folder": inside, "place": "", "asked": asked, "files": files}
        entries.append(entry | {"origins": [{"repository": None, "revision": None, "licence": None}]})
    (folder.parent / "outside").mkdir()
    for names in FILES.values():
        for name in names:
            (folder.parent / "outside" / Path(name).name).write_text(name)
    return {"format": 2, "made_for": "test", "entries": entries}


PATHS = st.sampled_from(
    ["../outside", "../outside/config.json", "/etc/passwd", "/etc", "..", ".", "", "encoder", "sources/lee", "2_Dense"]
) | st.sampled_from(["config.json", "2_Dense/../config.json", "./config.json", "a\0b", "\ud800", "//etc", "x" * 300])
LEAVES = PATHS | st.none() | st.booleans() | st.integers(-1, 20) | st.just("0" * 64) | st.lists(st.none(), max_size=1)


@st.composite
def manifest_changes(draw: st.DrawFn) -> list[tuple[str, Any, Any]]:
    kinds = st.sampled_from(["replace", "remove", "add", "twice"])
    return [(draw(kinds), draw(st.integers(0, 60)), draw(LEAVES)) for _ in range(draw(st.integers(0, 2)))]


def change_manifest(manifest: dict[str, Any], changes: list[tuple[str, Any, Any]]) -> None:
    for kind, number, value in changes:
        paths = places(manifest)
        *above, key = paths[number % len(paths)]
        parent = at(manifest, tuple(above))
        if kind == "remove":
            del parent[key]
        elif kind == "twice" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        elif kind == "add" and isinstance(parent, dict):
            parent[str(value)] = value
        else:
            parent[key] = value


def change_files(bundle: Path, kind: str, inside: str) -> None:
    path, outside = bundle / inside, bundle.parent / "outside"
    if kind == "link":
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(outside if "." not in path.name else outside / path.name)
    elif kind == "content" and path.is_file():
        path.write_text(path.read_text()[::-1])
    elif kind == "new":
        (bundle / "encoder" / "new").write_text("x")
    elif kind == "fifo" and path.is_file():
        path.unlink()
        os.mkfifo(path)
    elif kind == "gone":
        shutil.rmtree(path) if path.is_dir() else path.unlink()


FILE_CHANGES = st.tuples(
    st.sampled_from(["none", "none", "link", "content", "new", "fifo", "gone"]),
    st.sampled_from(["encoder", "encoder/config.json", "encoder/2_Dense", "sources", "sources/lee", "manifest.json"]),
)


@given(manifest_changes(), FILE_CHANGES)
def test_a_bundle_is_right_or_refused_and_nothing_outside_is_touched(tmp_path, changes, file_change):
    bundle = tmp_path / "place" / "bundle"
    manifest = write_bundle(bundle)
    change_manifest(manifest, changes)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    change_files(bundle, *file_change)
    values = parameters(bundle)
    with watched() as seen:
        try:
            used = with_bundle(values)
        except InputError:
            used = None
    assert [path for path in seen if not Path(os.path.realpath(path)).is_relative_to(bundle)] == []
    event("accepted" if used else "refused")
    if used:
        read = json.loads((bundle / "manifest.json").read_text())
        for entry in read["entries"]:
            for file in entry["files"]:
                content = (bundle / entry["folder"] / file["path"]).read_bytes()
                assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
        for section in (used["encoder"], used["ingest"]["sources"]["lee"]):
            assert Path(os.path.realpath(section["path"])).is_relative_to(bundle)
