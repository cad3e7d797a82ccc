"""The errors a user can act on.

The message names the place (file, row, field), what was expected and what was found. The command lines print it
without a traceback; any other exception is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PipelineError(Exception):
    """An error the user can act on; the message alone is enough."""


class InputError(PipelineError, ValueError):
    """An input is wrong: a file, a row, a field or a parameter."""


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error message; the name of its class if the message is empty."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest valid name, or `` (valid: ...)`` when none is close."""
    choices = sorted(valid)
    close = get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (valid: {', '.join(choices)})" if choices else ""
