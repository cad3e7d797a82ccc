"""What a run reads from outside (encoder, sources, benchmarks), and whether it is here or can be fetched."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import filter_repo_objects

from codiemb_pipeline.benchmarks.registry import spec_of
from codiemb_pipeline.encoder.checkpoint import NOT_LOADED
from codiemb_pipeline.encoder.registry import ENCODERS
from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.ingest.github import cached, run_git, url_of
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.sources import revisions_of
from codiemb_pipeline.locations import is_hub_id, resolve
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.ingest import SourceParams

TIMEOUT_S = 5.0
"""Seconds to wait for the hub or GitHub. Once one does not answer, it is not asked again."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """The encoder (named by its path), a source or a benchmark; without ``path`` it is fetched.

    A source of several repositories is as many resources.

    Attributes:
        repository: id on ``host``.
        licence: as stated where it comes from; ``None`` where that is not known.
        size: bytes to fetch: the hub's figure once it was asked, before that a registry's; ``None`` without either.
        files: patterns of the files to fetch; all of the repository where there are none.
    """

    kind: Literal["encoder", "source", "benchmark"]
    name: str
    path: str | None = None
    repository: str | None = None
    host: Literal["hub", "github"] = "hub"
    revision: str | None = None
    licence: str | None = None
    size: int | None = None
    files: tuple[str, ...] = ()

    @property
    def at(self) -> str:
        """What messages call the repository at its revision."""
        return f"{'github.com/' * (self.host == 'github')}{self.repository}@{(self.revision or 'main')[:8]}"

    @property
    def on_hub(self) -> Repository:
        """The files of a repository of the hub."""
        kind, ignore = ("model", NOT_LOADED) if self.kind == "encoder" else ("dataset", None)
        return Repository(self.repository, kind, self.revision, allow=self.files or None, ignore=ignore)


def required_resources(params: Params) -> list[Resource]:
    """Return everything that the stages read from outside, in the order of the stages, the encoder first."""
    path, revision = params.encoder.path, params.encoder.revision
    where = {"repository": path, "revision": revision} if is_hub_id(path) else {"path": path}
    known = ENCODERS.get(path)
    facts = {"licence": known.licence, "size": known.size} if known else {}
    resources = [Resource(kind="encoder", name=path, **where, **facts)]
    for name, source in params.ingest.sources.items():
        resources += _of_source(name, source)
    for name, benchmark in params.evaluate.benchmarks.items():
        if benchmark.type == "mteb":
            spec, path = spec_of(name), benchmark.path
            where = {"repository": spec.hub_id, "revision": spec.revision} if path is None else {"path": path}
            resources.append(Resource(kind="benchmark", name=name, licence=spec.licence, size=spec.text_bytes, **where))
    return resources


def _of_source(name: str, source: SourceParams) -> Iterator[Resource]:
    declared = TRAINING_SOURCES.get(source.registered)
    if source.path is not None:
        licences = dict.fromkeys(origin.licence for origin in declared.origins) if declared else ()
        yield Resource(kind="source", name=name, path=source.path, licence="; ".join(licences) or None)
        return
    revisions = revisions_of(name, source, declared)
    for origin in declared.origins:
        yield Resource(
            kind="source",
            name=name,
            repository=origin.id,
            host=origin.host,
            revision=revisions[origin.id],
            licence=origin.licence,
            size=origin.size,
            files=tuple(origin.files),
        )


@dataclass(frozen=True)
class AvailabilityCheck:
    """Whether a run would find a resource, and where (or why not), in words; and whether it is on this machine."""

    resource: Resource
    found: bool
    where: str
    here: bool = False


def check_availability(resources: Iterable[Resource]) -> list[AvailabilityCheck]:
    """Look for each resource. Downloads nothing."""
    silent: dict[str, str] = {}
    if constants.HF_HUB_OFFLINE:
        silent = dict.fromkeys(("hub", "github"), "HF_HUB_OFFLINE is set")
    checks = []
    for resource in resources:
        if resource.path is None:
            checks.append(_remote(resource, silent))
            continue
        try:
            resolve(resource.path, field=resource.name)
            checks.append(AvailabilityCheck(resource, True, f"here: {resource.path}", here=True))
        except InputError as error:
            checks.append(AvailabilityCheck(resource, False, str(error)))
    return checks


def _remote(resource: Resource, silent: dict[str, str]) -> AvailabilityCheck:
    """Look in the cache, then where it is fetched from; ``silent`` holds why a host is not asked, and is added to."""
    if _is_cached(resource):
        return AvailabilityCheck(resource, True, f"in the cache: {resource.at}", here=True)
    host, refused = "GitHub" if resource.host == "github" else "the hub", ""
    if resource.host not in silent:
        try:
            return AvailabilityCheck(_asked(resource), True, f"on {host}: {resource.at}")
        except Exception as error:  # whatever the network raises
            if resource.host == "hub" and isinstance(
                error, HfHubHTTPError | ValueError
            ):  # a ValueError is about the id
                refused = f"refused by {host}: {first_line(error)}"
            else:
                silent[resource.host] = f"{host} does not answer: {first_line(error)}"
    return AvailabilityCheck(resource, False, f"{resource.at} is not in the cache; {refused or silent[resource.host]}")


def _is_cached(resource: Resource) -> bool:
    if resource.host == "hub":
        return resource.on_hub.is_cached()
    folder = cached(resource.repository, resource.revision)
    return folder.is_dir() and all((folder / file).is_file() for file in resource.files)


def _asked(resource: Resource) -> Resource:
    """Return a resource with what the hub says of it; raise an error where it is not to be had."""
    if resource.host == "github":
        run_git("ls-remote", "--quiet", "--heads", url_of(resource.repository), timeout=TIMEOUT_S)
        return resource
    wanted = resource.on_hub
    place = {"repo_type": wanted.type, "revision": resource.revision, "files_metadata": True}
    found = HfApi().repo_info(resource.repository, timeout=TIMEOUT_S, **place)
    files = filter_repo_objects(found.siblings, key=lambda file: file.rfilename, **wanted.patterns)
    stated = found.card_data.get("license") if found.card_data else None
    return replace(resource, size=sum(file.size or 0 for file in files), licence=resource.licence or stated)
