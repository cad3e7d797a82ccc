"""What a manifest may name: files inside its bundle, each once. Everything else is refused before a file is opened."""

import hashlib
import json
from pathlib import Path
from typing import Any

import frozen_params
import pytest

from codiemb_pipeline.bundle.use import Manifest, check_files, with_bundle
from codiemb_pipeline.errors import InputError


def write_bundle(folder: Path) -> dict[str, Any]:
    """Write a bundle of an encoder and a source, and return the content of its manifest."""
    entries = []
    for kind, name, inside in (("encoder", "encoder", "encoder"), ("source", "words", "sources/words")):
        files = []
        for path in ("config.json", "more/weights"):
            (folder / inside / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside / path).write_text(f"{name} {path}")
            content = (folder / inside / path).read_bytes()
            files.append({"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
        origin = {"repository": None, "revision": None, "licence": None}
        entry = {"kind": kind, "name": name, "folder": inside, "place": "", "asked": {"path": "x"}}
        entries.append(entry | {"origins": [origin], "files": files})
    manifest = {"format": 2, "made_for": "test", "entries": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def check(folder: Path) -> None:
    check_files(folder, Manifest.read(folder))


@pytest.fixture
def bundle(tmp_path) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path / "bundle"
    manifest = write_bundle(folder)
    check(folder)
    (tmp_path / "outside").write_text("encoder config.json")
    return folder, manifest


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("folder", "../outside"),
        ("folder", "/etc"),
        ("folder", "."),
        ("folder", "sources/words"),
        ("folder", "sources/../encoder"),
        ("place", "../../etc/passwd"),
        ("place", "/etc/passwd"),
        ("place", "nothing"),
        ("name", "other"),
        ("kind", "sources"),
        ("origins", []),
        ("files", []),
        ("path", "../outside"),
        ("path", "/etc/passwd"),
        ("path", "more/../../outside"),
        ("path", "more/weights"),
        ("path", "a\0b"),
        ("path", ""),
        ("bytes", True),
        ("bytes", "19"),
        ("sha256", "0" * 63),
        ("sha257", "0" * 64),
        ("format", 2.5),
    ],
)
def test_a_manifest_that_names_anything_but_its_own_files_once_is_refused(bundle, part, value):
    folder, manifest = bundle
    entry = manifest["entries"][1 if part == "name" else 0]
    place = {"format": manifest, "path": entry["files"][0], "bytes": entry["files"][0]}
    place |= {"sha256": entry["files"][0], "sha257": entry["files"][0]}
    place.get(part, entry)[part] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json"):
        Manifest.read(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 10_000, b'{"format": 2', b"null", b"3"])
def test_what_is_no_manifest_is_refused(bundle, content):
    folder, _ = bundle
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json"):
        Manifest.read(folder)


def test_an_entry_that_stands_twice_is_refused(bundle):
    folder, manifest = bundle
    manifest["entries"].append(manifest["entries"][0])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="once"):
        Manifest.read(folder)


@pytest.mark.parametrize(
    "inside", ["encoder", "sources", "sources/words", "encoder/more", "encoder/config.json", "encoder/not-listed"]
)
def test_links_in_a_bundle_are_refused_whatever_they_lead_to(bundle, tmp_path, inside):
    """A link may lead out of the bundle, and one to a folder hides files that no manifest lists."""
    folder, _ = bundle
    link, moved = folder / inside, tmp_path / "moved"
    link.rename(moved) if link.exists() else moved.mkdir()
    link.symlink_to(moved)
    with pytest.raises(InputError, match="link"):
        check(folder)


def test_a_name_in_params_yaml_that_leads_out_of_the_bundle_is_refused(bundle):
    values = frozen_params.params() | {"bundle": str(bundle[0])}
    values["ingest"]["sources"]["../../x"] = values["ingest"]["sources"]["lee"]
    with pytest.raises(InputError, match=r"ingest\.sources\.\.\./\.\./x"):
        with_bundle(values)
