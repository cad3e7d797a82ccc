"""Profiles on disk: found, checked, and put into params.yaml in one step or not at all. Knows no parameter by name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.params import Params
from codiemb_pipeline.profiles.entries import Entry, read_entries, write_entries
from codiemb_pipeline.profiles.exchange import Change, changes, exchange

FOLDER, PARAMS_FILE = Path("conf/profiles"), Path("params.yaml")


def profile_files(root: Path) -> dict[str, Path]:
    """Return the profiles' files by name.

    Raises:
        InputError: there are none below ``root``.
    """
    files = {file.stem: file for file in sorted((root / FOLDER).glob("*.yaml"))}
    if not files:
        raise InputError(f"{(root / FOLDER).absolute()}: expected profiles, found none; run this in the project's root")
    return files


def profile_file(root: Path, name: str) -> Path:
    """Return the file of profile ``name``.

    Raises:
        InputError: there is no such profile; names the nearest.
    """
    files = profile_files(root)
    if name not in files:
        raise InputError(f"no profile {name!r} in {FOLDER}{nearest(name, files)}")
    return files[name]


def headline(file: Path) -> str:
    """Return the first line of a profile's comment: what it is."""
    with file.open(encoding="utf-8") as lines:
        return next(lines, "").removeprefix("#").strip()


def current_profile(root: Path) -> str | None:
    """Return the profile whose values params.yaml has; ``None`` when it has others, or can't be read."""
    try:
        present = _values(_read(root / PARAMS_FILE)[0])
        return next((n for n, file in profile_files(root).items() if _values(_read(file)[0]) == present), None)
    except InputError:
        return None


def use_profile(root: Path, name: str) -> list[Change]:
    """Give params.yaml the values of a profile.

    Args:
        root: the project's root.
        name: of the profile.

    Returns:
        The values that became others.

    Raises:
        InputError: there is no such profile, it is no valid params.yaml, or params.yaml can't be read; nothing is
            written then.
    """
    file, target = profile_file(root, name), root / PARAMS_FILE
    wanted, _ = _read(file)
    _check(wanted, file)
    present, rest = _read(target)
    known = [_read(other)[0] for other in profile_files(root).values()]
    text = write_entries(exchange(present, wanted, known), rest)
    after = _reread(text)
    if _values(after) != _values(wanted):
        raise InputError(
            f"{target}: it is written in a way this command can't take apart (anchors, say); put it back "
            f"(git checkout {PARAMS_FILE}) and try again, or copy {file} over it"
        )
    found = changes(present, after)
    if found:
        _replace(target, text)
    return found


def _read(file: Path) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{file}: expected parameters, found no such file") from None
    return read_entries(text, str(file))


def _reread(text: str) -> tuple[Entry, ...]:
    """Return the keys of a text put together here; none where it came out as no YAML."""
    try:
        return read_entries(text, "")[0]
    except InputError:
        return ()


def _values(entries: tuple[Entry, ...]) -> dict[str, Any]:
    return {entry.key: entry.value for entry in entries}


def _check(entries: tuple[Entry, ...], file: Path) -> None:
    """Refuse a profile that is no valid params.yaml."""
    try:
        Params.parse(_values(entries))
    except InputError as error:
        raise InputError(str(error).replace("params.yaml: ", f"{file}: ")) from None


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}-", encoding="utf-8", delete=False) as new:
        new.write(text)
    try:
        shutil.copymode(file, new.name)
        os.replace(new.name, file)
    except OSError:
        os.unlink(new.name)
        raise
