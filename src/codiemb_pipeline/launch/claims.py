"""Jobs that several processes share: each takes the next that none has taken, so that all end at about the same time.

Between processes of one machine there is nothing but a file with a number in it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path


class Claims:
    """Numbers 0, 1, 2, ... each given out once, to whoever asks first.

    Args:
        path: of the file, which need not exist; its folder must.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, count: int) -> Iterator[int]:
        """Yield numbers below ``count`` that no other process was given, until there are none left."""
        while (number := self._next()) < count:
            yield number

    def _next(self) -> int:
        with self._path.open("a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go of when the file is closed, or the process ends
            file.seek(0)
            number = int(file.read() or 0)
            file.truncate(0)
            file.write(str(number + 1))
        return number
