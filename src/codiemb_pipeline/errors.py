"""The errors a user can act on.

The message names the place (file, row, field), what was expected and what was found. The command lines print it
without a traceback; any other exception is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class PipelineError(Exception):
    """An error the user can act on; the message alone is enough."""


class InputError(PipelineError, ValueError):
    """An input is wrong: a file, a row, a field or a parameter."""


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error message; the name of its class if the message is empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])


def what_is(file: Path) -> str:
    """Return in words what a file is instead of the content that was expected."""
    if not file.is_file():
        return "no such file"
    try:
        with file.open("rb") as opened:
            start = opened.read(64)
    except OSError as error:
        return f"a file that can't be read: {error.strerror}"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of git-lfs (run `git lfs pull` in the folder's repository)"
    return f"a file of {file.stat().st_size} bytes" if start else "an empty file"


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest valid name, or `` (valid: ...)`` when none is close."""
    choices = sorted(valid)
    close = get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (valid: {', '.join(choices)})" if choices else ""
