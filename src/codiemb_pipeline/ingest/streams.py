"""Files as one stream of bytes: plain, gzip, a zip that holds one file, or parts to be read as if they were one.

Nothing is unpacked to disk or held in memory. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO

from codiemb_pipeline.errors import InputError

BUFFER = 2**20
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


def form_of(path: Path) -> str:
    """Return the suffix of ``path`` that says what the content is: that below ``.gz``, that of the file in a zip.

    Raises:
        InputError: a zip is broken, or holds other than one file.
    """
    if path.suffix == ".gz":
        return PurePath(path.stem).suffix
    if path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                return PurePath(_member(archive, str(path))).suffix
        except zipfile.BadZipFile as error:
            raise InputError(f"{path}: not readable as zip ({error})") from None
    return path.suffix


@contextmanager
def open_bytes(paths: list[Path], name: str) -> Iterator[BinaryIO]:
    """Open ``paths``, in their order, as one stream.

    Raises:
        InputError: a compressed file is broken or breaks off; ``name`` is how the message calls it.
    """
    with ExitStack() as stack:
        try:
            streams = [_opened(path, stack, name) for path in paths]
            yield streams[0] if len(streams) == 1 else io.BufferedReader(_Joined(streams), BUFFER)
        except BROKEN as error:
            raise InputError(f"{name}: compressed file is broken or breaks off ({error})") from None


def _opened(path: Path, stack: ExitStack, name: str) -> BinaryIO:
    if path.suffix == ".gz":
        return stack.enter_context(gzip.open(path))
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        return stack.enter_context(archive.open(_member(archive, name)))
    return stack.enter_context(path.open("rb"))


def _member(archive: zipfile.ZipFile, name: str) -> str:
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if len(names) != 1:
        raise InputError(f"{name}: expected one file in the zip, found {len(names)}")
    return names[0]


class _Joined(io.RawIOBase):
    """Streams one after the other."""

    def __init__(self, streams: list[BinaryIO]) -> None:
        self._streams = list(streams)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while self._streams:
            content = self._streams[0].read(len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
            self._streams.pop(0)
        return 0
