"""Bytes of files, plain or compressed alike (gzip, bzip2, zstandard, zip), in blocks; nothing is unpacked to disk."""

import codecs
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePath
from typing import BinaryIO

import pyarrow as pa

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.folders import is_passed_over, unpacked
from codiemb_pipeline.ingest.validation import one_line

BLOCK_BYTES = 2**23
HEAD_BYTES = 2**12
CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_BROKEN = (
    *(OSError, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    *(struct.error, pa.ArrowException),
)


def suffix_of(path: Path, name: str) -> str:
    """Return the suffix of the content: without that of compression, or that of the file inside a zip."""
    if path.suffix.lower() == ".zip":
        with _readable(name):
            return PurePath(unpacked(_member(path, name).filename)).suffix.lower()
    return PurePath(unpacked(path.name)).suffix.lower()


def is_compressed(path: Path) -> bool:
    """Return whether the name of a file says that it is compressed."""
    return path.suffix.lower() in (*CODECS, ".zip")


def head(path: Path, name: str) -> bytes:
    """Return the first bytes of the content, without a byte order mark."""
    with _readable(name), _opened(path, name) as file:
        return file.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8)


def content(path: Path, name: str) -> bytes:
    """Return all of a file that is not large."""
    return b"".join(_read([path], name, b"\n"))


def blocks(paths: list[Path], name: str, separator: bytes = b"\n") -> Iterator[bytes]:
    """Yield blocks that end on ``separator``, without a byte order mark; another thread reads and decompresses ahead.

    Lines end on a line feed, before which one carriage return stays; in a file without any line feed, where each line
    ends on a carriage return, they are line feeds.

    Raises:
        InputError: a file is broken, incomplete, encrypted, or compressed in another way; the message says ``name``.
    """
    lines_end_on, found = b"", _read(paths, name, separator)
    following = _reader().submit(next, found, None)
    while (block := following.result()) is not None:
        following = _reader().submit(next, found, None)
        lines_end_on = lines_end_on or (b"\n" if b"\n" in block else b"\r")
        if b"\r" in block:
            ends = rb"\r+\n" if lines_end_on == b"\n" else rb"\r"
            block = re.sub(ends, b"\r\n" if lines_end_on == b"\n" else b"\n", block)
        yield block


@cache
def _reader() -> ThreadPoolExecutor:
    """Return the thread that reads ahead, for all files.

    One of a generator's own would be joined when Python collects the generator, which may happen in a thread that is
    just being started and holds the lock that joining waits for: a deadlock.
    """
    return ThreadPoolExecutor(1, "read-ahead")


def _read(paths: list[Path], name: str, separator: bytes) -> Iterator[bytes]:
    rest, mark = b"", codecs.BOM_UTF8
    for path in paths:
        with _readable(name), _opened(path, name) as file:
            while block := file.read(BLOCK_BYTES):
                before, end, after = (rest + block.removeprefix(mark)).rpartition(separator)
                mark, rest = b"", after
                if end:
                    yield before + end
    if rest:
        yield rest


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{name}: not readable, broken or incomplete ({one_line(str(error))})") from None


def _opened(path: Path, name: str) -> BinaryIO | pa.NativeFile:
    if path.suffix.lower() == ".zip":
        return zipfile.ZipFile(path).open(_member(path, name))
    return pa.input_stream(path, compression=CODECS.get(path.suffix.lower()))


def _member(path: Path, name: str) -> zipfile.ZipInfo:
    """Return the one file with rows in a zip."""
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    entries = [entry for entry in entries if not is_passed_over(PurePath(entry.filename))]
    if len(entries) != 1:
        names = ", ".join(one_line(entry.filename) for entry in entries[:5]) + ", ..." * (len(entries) > 5)
        raise InputError(f"{name}: expected one file in the zip, found {len(entries)}{': ' * bool(names)}{names}")
    (entry,) = entries
    shown = one_line(entry.filename)
    if entry.flag_bits & 1:
        raise InputError(f"{name}: {shown} in it is encrypted; unpack it and set the path to what is inside")
    if entry.compress_type not in ZIP_METHODS:
        method = zipfile.compressor_names.get(entry.compress_type, "unknown")
        packed = f"{shown} in it is packed by method {entry.compress_type} ({method})"
        raise InputError(f"{name}: {packed}, expected stored, deflate, bzip2 or lzma; pack it anew, or unpack it")
    return entry
