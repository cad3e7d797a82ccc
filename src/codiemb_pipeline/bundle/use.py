"""A bundle: its manifest, the check of its files, and the paths in params.yaml replaced by its own.

encoder/<files>  sources/<name>/<files>  benchmarks/<name>/<files>  manifest.json
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.locations import FileDigests
from codiemb_pipeline.params import Params

MANIFEST = "manifest.json"
ASKED = {"encoder": ("path", "revision"), "source": ("registered", "path", "revision"), "benchmark": ("path",)}
"""The keys of a section of params.yaml that decide which data it asks for."""


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path or not path.isprintable() or "\\" in path:
        raise ValueError(f"expected a path inside the bundle, found {path!r}")
    return path


Inside = Annotated[str, AfterValidator(_inside)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BundledFile(_Part):
    """A file: its path in the folder of its entry, its size in bytes, and its SHA-256."""

    path: Inside
    bytes: int = Field(ge=0, strict=True)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class BundledOrigin(_Part):
    """Where files come from; ``None`` where that is a path, its commit is not known, or no licence is stated."""

    repository: str | None
    revision: str | None
    licence: str | None


class Entry(_Part):
    """The encoder, a source or a benchmark.

    Attributes:
        kind: ``encoder``, ``source`` or ``benchmark``.
        name: as in params.yaml; ``encoder`` for the encoder.
        folder: in the bundle.
        place: the file in ``folder`` that is read; empty for the folder itself.
        asked: what params.yaml asked for. The bundle serves nothing else.
        origins: one, or several of a source that has several; a source's ``repository`` is an id of the registry.
        files: in the order of their paths.
    """

    kind: Literal["encoder", "source", "benchmark"]
    name: str
    folder: Inside
    place: Literal[""] | Inside
    asked: dict[str, Any]
    origins: tuple[BundledOrigin, ...] = Field(min_length=1)
    files: tuple[BundledFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _own_folder(self) -> Self:
        own = folder_of(self.kind, self.name)
        if self.folder != own:
            raise ValueError(f"expected the folder {own!r} for {self.kind} {self.name!r}, found {self.folder!r}")
        paths = [file.path for file in self.files]
        if twice := next((path for path in paths if paths.count(path) > 1), None):
            raise ValueError(f"expected each file once, found {twice!r} more than once")
        if self.place and self.place not in paths:
            raise ValueError(f"expected a place among the files, found {self.place!r}")
        return self


class Manifest(_Part):
    """The entries of a bundle, and the profile it was made for."""

    format: int = Field(default=2, ge=2, le=2, strict=True)
    made_for: str
    entries: list[Entry]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        folders = [entry.folder for entry in self.entries]
        if twice := next((folder for folder in folders if folders.count(folder) > 1), None):
            raise ValueError(f"expected each entry once, found {twice!r} more than once")
        return self

    @classmethod
    def read(cls, bundle: Path) -> Self:
        """Read the manifest of the folder ``bundle``.

        Raises:
            InputError: there is none, one of another format, or one that names files outside the bundle.
        """
        file = bundle / MANIFEST
        if not file.is_file() or file.is_symlink():
            raise InputError(f"params.yaml: bundle: expected a bundle (make bundle), found no {file}")
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
            raise InputError(
                f"{file}: expected the manifest of a bundle, found: {'; '.join(faults[:3])}{more}; make it again"
            ) from None


def folder_of(kind: str, name: str) -> str:
    """Return the folder of an entry in the bundle."""
    return "encoder" if kind == "encoder" else f"{kind}s/{name}"


def with_bundle(values: Mapping[str, Any], work: Path | None = None) -> dict[str, Any]:
    """Return the values of params.yaml with the paths of encoder, sources and benchmarks in its ``bundle``.

    Args:
        values: all of params.yaml, not yet checked.
        work: the work folder, which remembers the files that were checked; ``None`` reads them all.

    Raises:
        InputError: the values are wrong, or there is no bundle, a byte of it has changed, or it was made for something
            else.
    """
    if not isinstance(values.get("bundle"), str):
        return dict(values)
    Params.parse(values)
    bundle, values = Path(values["bundle"]).expanduser().absolute(), copy.deepcopy(dict(values))
    manifest = Manifest.read(bundle)
    check_files(bundle, manifest, None if work is None else work / "bundle.json")
    held = {(entry.kind, entry.name): entry for entry in manifest.entries}
    for kind, name, asked, section in bundled_sections(values):
        entry = held.get((kind, name))
        if entry is None:
            found = f"no {kind} {name!r}{nearest(name, [other for of, other in held if of == kind])}"
        elif entry.asked != asked:
            found = f"{kind} {name!r} of {entry.asked}, but {asked} is asked for"
        else:
            section["path"] = str(bundle / entry.folder / entry.place)
            if asked["path"] is None:
                section["revision"] = _revisions(entry)
            elif kind == "encoder":
                section["revision"] = None
            continue
        raise InputError(f"params.yaml: bundle: {bundle} holds {found}; make it again for these parameters")
    return values


def _revisions(entry: Entry) -> str | dict[str, str] | None:
    """Return the commits that an entry is a copy of, as params.yaml names them: a source's by repository."""
    if entry.kind == "source":
        return {origin.repository: origin.revision for origin in entry.origins}
    return entry.origins[0].revision


def bundled_sections(values: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Return kind, name, what is asked for, and content of the sections of params.yaml that a bundle serves."""
    sections = [("encoder", "encoder", values["encoder"])]
    sections += [("source", name, source) for name, source in values["ingest"]["sources"].items()]
    benchmarks = values["evaluate"]["benchmarks"].items()
    sections += [("benchmark", name, entry) for name, entry in benchmarks if entry.get("type") == "mteb"]
    return [(kind, name, {key: part.get(key) for key in ASKED[kind]}, part) for kind, name, part in sections]


def check_files(bundle: Path, manifest: Manifest, seen: Path | None = None) -> None:
    """Refuse a bundle in which a byte has changed; ``seen`` remembers checked files (:class:`FileDigests`).

    Raises:
        InputError: files are missing, changed, links, or not in the manifest; names the first ten.
    """
    digests = FileDigests(seen)
    faults = [fault for entry in manifest.entries for fault in _faults(bundle, entry, digests)]
    if faults:
        more = f"\nand {len(faults) - 10} more" if len(faults) > 10 else ""
        raise InputError("\n".join(faults[:10]) + f"{more}\n{bundle}: the bundle has changed; make it again")
    digests.save()


def _faults(bundle: Path, entry: Entry, digests: FileDigests) -> Iterator[str]:
    folder = bundle / entry.folder
    found = [bundle / PurePosixPath(entry.folder).parts[0], folder, *sorted(folder.rglob("*"))]
    if links := [path for path in found if path.is_symlink()]:  # which may lead out of the bundle
        yield f"{links[0]}: expected a file or folder, found a link"
        return
    paths = {path for path in found if not path.is_dir()}
    for file in entry.files:
        path = folder / file.path
        if path not in paths:
            yield f"{path}: expected a file of {file.bytes} bytes, found none"
        elif not path.is_file():
            yield f"{path}: expected a file, found none of the usual kind"
        elif (size := path.stat().st_size) != file.bytes:
            yield f"{path}: expected {file.bytes} bytes, found {size}"
        elif (digest := digests.of(path)) != file.sha256:
            yield f"{path}: expected SHA-256 {file.sha256[:16]}..., found {digest[:16]}...: a byte has changed"
    for path in sorted(paths - {folder / file.path for file in entry.files}):
        yield f"{path}: not in the manifest"
