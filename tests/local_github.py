"""GitHub on this machine: repositories in a folder, which git reads in place of github.com, and a cache for them."""

import os
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import constants

AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@example.org")


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *AUTHOR, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit_all(repository: Path) -> str:
    """Commit all files of a folder, on branch ``main``, and return the commit."""
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=files")
    return git(repository, "rev-parse", "HEAD")


def use_local_github(github: Path, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Let git find ``https://github.com/<owner>/<name>`` at ``github``/<owner>/<name>, by its own configuration."""
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_ASSETS_CACHE", str(cache))
    number = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    patch.setenv("GIT_CONFIG_COUNT", str(number + 1))
    patch.setenv(f"GIT_CONFIG_KEY_{number}", f"url.file://{github}/.insteadOf")
    patch.setenv(f"GIT_CONFIG_VALUE_{number}", "https://github.com/")
