"""The errors a user can act on.

Whatever raises one has said where (file, row, field), what was expected and what was found; the rim prints the message
alone, without a traceback. Any other exception is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PipelineError(Exception):
    """Something the user can act on; its message is all they need to read."""


class InputError(PipelineError, ValueError):
    """Something handed to the pipeline is wrong: a file, a row, a field or a parameter."""


def first_line(error: BaseException) -> str:
    """Return the first line of what another library's error says; its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the valid name most like ``name``, or the list of all when none is like it.

    Ends in a full stop when the list is given; callers append it straight to their sentence.
    """
    choices = sorted(valid)
    close = get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (valid: {', '.join(choices)})" if choices else ""
