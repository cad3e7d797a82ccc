"""Plain, gzip and zip files, and files cut into parts, as blocks of lines; nothing is unpacked to disk."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import BinaryIO

from codiemb_pipeline.errors import InputError

BLOCK = 2**22
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


def suffix_of(path: Path) -> str:
    """Return the suffix of the content: the one below ``.gz``, or that of the file inside a zip.

    Raises:
        InputError: a zip is broken, or does not hold exactly one file.
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


def blocks_of(paths: list[Path], name: str) -> Iterator[bytes]:
    """Yield blocks of whole lines of ``paths``, read in this order as if they were one file.

    Raises:
        InputError: a compressed file is broken or incomplete; the message calls it ``name``.
    """
    rest = b""
    for path in paths:
        with ExitStack() as stack:
            try:
                file = _opened(path, stack, name)
                while block := file.read(BLOCK):
                    lines, end, after = block.rpartition(b"\n")
                    if end:
                        yield rest + lines + end
                        rest = after
                    else:
                        rest += block
            except BROKEN as error:
                raise InputError(f"{name}: compressed file is broken or breaks off ({error})") from None
    if rest:
        yield rest


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of blocks, without their line feeds."""
    for block in blocks:
        yield from block.removesuffix(b"\n").split(b"\n")


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
