"""Snapshots of the Hugging Face hub: the only place that fetches from it.

The client, ``huggingface_hub``, resumes a download that was cut, waits when the hub asks it to, and compares sizes. It
does not compare content, does not notice a pattern that matches no file, and gives up at once on some failures that
another attempt would mend. This module does the rest, and turns every failure into an error that says what to do.
"""

import errno
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.locations import FileDigests
from codiemb_pipeline.progress import ProgressBar

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

logger = logging.getLogger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")
PAUSES_S = (5, 20)
"""Seconds before each further attempt, once the client has given up; its own attempts take about 20 s."""
PASSING = {408, 429, *range(500, 600)}
"""The HTTP answers after which another attempt may succeed."""
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


class _NotWholeError(Exception):
    """What was fetched is not what the hub lists; ``again`` where fetching once more may help."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True)
class Repository:
    """Files of a repository of the hub, at one revision.

    Attributes:
        hub_id: ``<organisation>/<name>``.
        type: ``model`` or ``dataset``.
        revision: a commit (40 hexadecimal digits), a branch or a tag; ``None`` for the head of main.
        allow: patterns of the files that are wanted, each of which must match one; ``None`` for all files.
        ignore: patterns of files that are not wanted.
    """

    hub_id: str
    type: Literal["model", "dataset"]
    revision: str | None
    allow: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None

    def fetch(self, *, field: str, by_hand: str) -> Path:
        """Return the folder of the files, fetched, or found in the hub's cache; size and hash of each are the hub's.

        Args:
            field: the key of params.yaml that asks for them, for the message.
            by_hand: how to do without the hub, for the message: an imperative.

        Raises:
            InputError: the hub can't be reached or refuses, lacks id, revision or file, or the disk is full; names
                them and the way out.
        """
        for pause in (*PAUSES_S, None):
            try:
                folder = (self._cached() if COMMIT.fullmatch(self.revision or "") else None) or self._snapshot()
                self._check(folder)
                return folder
            except Exception as error:  # the client, the network and the disk have errors of their own
                if pause is None or not _passes(error):
                    raise InputError("\n  ".join(self._message(error, field, by_hand))) from error
                logger.warning("%s: %s; trying again in %d s", self.hub_id, _said(error), pause)
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def is_cached(self) -> bool:
        """Return whether the cache has all of the files; their content is not compared."""
        return self._cached() is not None

    def _cached(self) -> Path | None:
        from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError

        try:
            folder = self._snapshot(local_files_only=True)
            self._listed(folder.name)
        except (LocalEntryNotFoundError, CachedRepoTreeNotFoundError):
            return None
        return folder

    def _snapshot(self, *, local_files_only: bool = False) -> Path:
        from huggingface_hub import snapshot_download

        place = {"repo_type": self.type, "revision": self.revision, "local_files_only": local_files_only}
        return Path(snapshot_download(self.hub_id, **place, **self.patterns, tqdm_class=ProgressBar))

    @property
    def patterns(self) -> dict[str, tuple[str, ...] | None]:
        """The patterns of its files, as arguments of the client."""
        return {"allow_patterns": self.allow, "ignore_patterns": self.ignore}

    def _listed(self, revision: str | None) -> list["RepoFile"]:
        """Return the hub's list of all files, as the cache holds it."""
        from huggingface_hub import get_cached_repo_tree

        return get_cached_repo_tree(self.hub_id, repo_type=self.type, revision=revision)

    def _wanted(self, listed: Iterable["RepoFile"]) -> list["RepoFile"]:
        from huggingface_hub.utils import filter_repo_objects

        return list(filter_repo_objects(listed, key=lambda file: file.path, **self.patterns))

    def _check(self, folder: Path) -> None:
        """Compare a snapshot with what the hub lists; remove from the cache what differs."""
        from huggingface_hub import cached_assets_path, constants
        from huggingface_hub.errors import CachedRepoTreeNotFoundError
        from huggingface_hub.utils import filter_repo_objects

        try:
            listed = self._listed(folder.name)
        except CachedRepoTreeNotFoundError:
            raise _NotWholeError(
                f"nothing says whether {folder} is whole, since an older client filled it: fetch it once with a "
                f"network, or set the path to it if you know that it is whole"
            ) from None
        names = [file.path for file in listed]
        for pattern in self.allow or ():
            if not any(filter_repo_objects(names, allow_patterns=pattern)):
                found = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
                raise _NotWholeError(f"it has no file {pattern}; found {found}")
        memory = None
        with suppress(OSError, ValueError):  # a cache that may only be read
            name = hashlib.sha256(repr((self, folder.name)).encode()).hexdigest()[:16]
            memory = cached_assets_path("codiemb-pipeline", "checked") / f"{name}.json"
        digests = FileDigests(memory)
        faults = list(_faults(folder, self._wanted(listed), digests))
        if faults:
            raise _NotWholeError("; ".join(faults), again=not constants.is_offline_mode())
        with suppress(OSError):
            digests.save()

    def _message(self, error: Exception, field: str, by_hand: str) -> Iterator[str]:
        yield f"params.yaml: {field}: {self.type} {self.hub_id} at {self.revision or 'main'}: {self._reason(error)}"
        if missing := self._missing():
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            yield f"not in the cache: {', '.join(missing[:3])}{more}; whole files are kept, and not fetched again"
        yield f"without the hub: `make bundle` where there is a network (docs/offline.md), or {by_hand}"

    def _missing(self) -> list[str]:
        """Return the files that the cache lacks, where the hub's list of them is known."""
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        place = {"repo_type": self.type, "revision": self.revision}
        try:
            names = [file.path for file in self._wanted(self._listed(self.revision))]
        except (CachedRepoTreeNotFoundError, ValueError):  # a ValueError is about the id
            return []
        return [name for name in names if not isinstance(try_to_load_from_cache(self.hub_id, name, **place), str)]

    def _reason(self, error: Exception) -> str:
        """Return what went wrong, and what helps against it."""
        from huggingface_hub import constants, errors

        status, page = _status(error), f"{constants.ENDPOINT}/{'datasets/' * (self.type == 'dataset')}{self.hub_id}"
        if isinstance(error, _NotWholeError):
            return str(error)
        if isinstance(error, errors.GatedRepoError):
            return f"its terms must be accepted ({status}): {LOG_IN}, and accept them on {page}"
        if isinstance(error, errors.RevisionNotFoundError):
            return f"it has no such revision ({status}); those it has are on {page}/commits/main"
        if isinstance(error, errors.RepositoryNotFoundError):
            return f"the hub has no such {self.type}, or it is private ({status}): correct the id, or {LOG_IN}"
        if status in (401, 403):
            return f"the hub refuses the token ({status}): {LOG_IN}. {_said(error)}"
        if status in PASSING:
            return (
                f"the hub can't serve it now ({status}), after {len(PAUSES_S) + 1} attempts: try later. {_said(error)}"
            )
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return f"the disk of {constants.HF_HUB_CACHE} is full: make room, or set HF_HOME to a larger disk"
        if status is None and isinstance(error, errors.LocalEntryNotFoundError):
            if constants.is_offline_mode():
                return f"HF_HUB_OFFLINE is set, and {constants.HF_HUB_CACHE} does not hold it: fetch it once without"
            return (
                f"{constants.ENDPOINT} can't be reached: check network, proxy and HF_ENDPOINT. {_said(_cause(error))}"
            )
        return _said(error)


def _faults(folder: Path, files: Iterable["RepoFile"], digests: FileDigests) -> Iterator[str]:
    """Yield what is wrong with each file, and remove it. The cache names a file by the hash of its content."""
    for file in files:
        path = folder / file.path
        blob = Path(os.readlink(path)).name if path.is_symlink() else ""
        if (size := path.stat().st_size) != file.size:
            fault = f"expected {file.size} bytes, found {size}"
        elif len(blob) == 64 and (found := digests.of(path)) != blob:
            fault = f"expected SHA-256 {blob}, found {found}"
        elif len(blob) == 40 and (found := _git_hash(path)) != blob:
            fault = f"expected git's hash {blob}, found {found}"
        else:
            continue
        with suppress(OSError):
            path.resolve().unlink()
            path.unlink()
        yield f"{file.path}: {fault}; removed from the cache"


def _git_hash(path: Path) -> str:
    content = path.read_bytes()  # the hub keeps files above some MB by their SHA-256
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ or error


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error or its cause is about; ``None`` where no answer came."""
    responses = (getattr(part, "response", None) for part in (error, _cause(error)))
    return next((response.status_code for response in responses if response is not None), None)


def _passes(error: BaseException) -> bool:
    """Return whether another attempt may succeed; where no answer came, the client has tried often enough."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, _NotWholeError):
        return error.again
    if (status := _status(error)) is not None:
        return status in PASSING
    if isinstance(error, OSError) and error.errno is not None:
        return False
    return not isinstance(error, LocalEntryNotFoundError | ValueError)


def _said(error: BaseException) -> str:
    """Return the kind and the words of an error, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
