"""Files of a GitHub repository at a commit, in a cache beside the hub's.

git itself fetches them: the commit alone, and of it only the files that are asked for. What is in the cache is whole:
a file gets its name there when it is complete.
"""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from huggingface_hub import constants

from codiemb_pipeline.errors import InputError

COMMIT = re.compile(r"[0-9a-f]{40}")
PATIENCE = {"http.lowSpeedLimit": "1000", "http.lowSpeedTime": "60"}  # give up below 1,000 bytes a second for a minute


def cached(repository: str, commit: str) -> Path:
    """Return the folder of the cache for the files of ``repository`` at ``commit``, which need not exist."""
    return Path(constants.HF_ASSETS_CACHE, "codiemb-pipeline", repository.replace("/", "--"), commit)


def url_of(repository: str) -> str:
    """Return the address of ``<owner>/<name>``, as git's ``url.<base>.insteadOf`` may replace it."""
    return f"https://github.com/{repository}"


def fetch_files(repository: str, revision: str, files: Iterable[str]) -> Path:
    """Return the folder of ``files`` at ``revision``; its name is the commit.

    Those in the cache are not fetched again. A branch or a tag is asked for at every call.

    Raises:
        InputError: git is missing or fails, or HF_HUB_OFFLINE is set and the cache lacks a file; says why.
    """
    folder = cached(repository, revision)
    if COMMIT.fullmatch(revision) and all((folder / file).is_file() for file in files):
        return folder
    if constants.HF_HUB_OFFLINE:
        raise InputError("not in the cache, and HF_HUB_OFFLINE is set")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as clone:
        run_git("init", "--quiet", "--bare", clone)
        run_git("remote", "add", "origin", url_of(repository), repository=clone)
        run_git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", revision, repository=clone)
        folder = cached(repository, run_git("rev-parse", "FETCH_HEAD^{commit}", repository=clone))
        for file in files:
            if not (folder / file).is_file():
                part = Path(clone, "part")
                with part.open("wb") as opened:
                    run_git("cat-file", "blob", f"FETCH_HEAD:{file}", repository=clone, output=opened)
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                part.replace(folder / file)
    return folder


def run_git(
    *arguments: str, repository: str | None = None, output: IO[bytes] | None = None, timeout: float | None = None
) -> str:
    """Return what git prints, or write it to ``output``; git asks for no password.

    Raises:
        InputError: git is missing, fails, or takes more than ``timeout`` seconds; says why.
    """
    options = [part for name, value in PATIENCE.items() for part in ("-c", f"{name}={value}")]
    place = [] if repository is None else ["--git-dir", repository]
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    target = subprocess.PIPE if output is None else output
    command = ["git", *options, *place, *arguments]
    try:
        ended = subprocess.run(command, stdout=target, stderr=subprocess.PIPE, env=quiet, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"git {arguments[0]}: {error}") from error
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").splitlines()
        reasons = [line for line in lines if line.startswith(("fatal:", "error:"))]
        raise InputError(f"git {arguments[0]}: {reasons[0] if reasons else f'exit code {ended.returncode}'}")
    return (ended.stdout or b"").decode().strip()
