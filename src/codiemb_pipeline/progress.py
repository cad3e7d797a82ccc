"""Progress of work that takes more than a few seconds: a bar on a terminal, elsewhere a log line now and then."""

import io
import logging
import sys
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)

FIRST_S = 10.0
"""Seconds before the first line, and the least between two."""
LAST_S = 600.0
SHARE = 0.1
"""A line comes after this share of the time that has passed, up to ``LAST_S``: some 200 lines a day."""
DELAY_S = 1.0
"""Seconds before a bar appears."""


class ProgressBar(tqdm):
    """tqdm's bar, for an iterable or by :meth:`update`, which becomes lines of the log where there is no terminal.

    Rate and time left are those of the last lines, not of the whole: work that is resumed has ``initial`` of it done.
    """

    monitor_interval = 0  # no thread that watches the bars

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._in_log = not sys.stderr.isatty()
        self._said = 0.0  # seconds after the start at which the last line came
        options = {"leave": False, "miniters": 1, "delay": DELAY_S, **options}
        if self._in_log:
            options |= {"mininterval": FIRST_S, "delay": FIRST_S, "file": io.StringIO()}
        super().__init__(*arguments, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draw the bar, or log a line if it is time for one; tqdm calls this after updates."""
        if not self._in_log:
            return super().display(msg, pos)
        state = self.format_dict
        passed = state["elapsed"] - self._said
        if msg is None and passed >= min(max(FIRST_S, SHARE * state["elapsed"]), LAST_S):
            self._said = state["elapsed"]
            logger.info("%s%s", _done(state), _ahead(state))
        return True

    def close(self) -> None:
        """Remove the bar, or log what was done in which time if anything was logged before."""
        if self._in_log and not self.disable and self._said:
            state = self.format_dict
            logger.info("%s in %s", _done(state), duration(state["elapsed"]))
        super().close()


def _done(state: dict[str, Any]) -> str:
    """Return how much of a work is done."""
    done, total = state["n"], state["total"]
    of, share = (f" of {_amount(total, state)}", f" ({done / total:.0%})") if total else ("", "")
    words = "" if state["unit_scale"] else f" {state['unit']}"
    return f"{state['prefix'].removesuffix(': ')}: {_amount(done, state)}{of}{words}{share}"


def _ahead(state: dict[str, Any]) -> str:
    """Return rate, time left and whatever else a work shows."""
    made = state["n"] - state["initial"]
    rate = state["rate"] or (made / state["elapsed"] if state["elapsed"] else 0)
    parts = []
    if rate:
        parts.append(f"{_amount(rate, state)} a second")
    if rate and state["total"]:
        parts.append(f"{duration((state['total'] - state['n']) / rate)} left")
    if state["postfix"]:
        parts.append(state["postfix"])
    return "".join(f", {part}" for part in parts)


def _amount(number: float, state: dict[str, Any]) -> str:
    if state["unit_scale"]:
        return tqdm.format_sizeof(number, state["unit"])
    return f"{number:,}" if isinstance(number, int) else f"{number:.3g}"


def duration(seconds: float) -> str:
    """Return a time in words."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
