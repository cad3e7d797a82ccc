"""Which files of a folder are a source's, by their names; whether they are all there; and which nobody read.

The name of a shard holds ``-NNNNN-of-NNNNN``, in any format; a file name may end on a suffix of ``COMPRESSED``.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

from codiemb_pipeline.errors import InputError

COMPRESSED = (".gz", ".bz2", ".zst", ".zip")
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "valid", "val", "validation", "eval"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}
UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2")
_SHARD = re.compile(r"-(\d+)-of-(\d+)(?:-[0-9a-f]{8,})?", re.ASCII)
_ABOUT = re.compile(
    r"(readme|licen[cs]e|copying|notice|citation|changelog|dataset_infos?)(\..*)?|.*\.md", re.IGNORECASE
)


def unpacked(name: str) -> str:
    """Return the name of a file without number as a shard and suffix of compression: the name of its content."""
    name = _SHARD.sub("", name)
    return name[: -len(PurePath(name).suffix)] if PurePath(name).suffix.lower() in COMPRESSED else name


def is_passed_over(path: PurePath) -> bool:
    """Return whether a file holds no rows by its name: hidden, of a Mac's archive, a readme, a licence or a card."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts) or bool(_ABOUT.fullmatch(path.name))


def matching(folder: Path, shown: str, is_wanted: Callable[[str], bool]) -> list[Path]:
    """Return the files of ``folder`` whose names are wanted, sorted.

    Raises:
        InputError: one of them is a link to nothing, an unfinished download or a missing shard; the message names it,
            and calls the folder ``shown``.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = path.name
        ending = next((ending for ending in UNFINISHED if name.lower().endswith(ending)), "")
        if not is_wanted(name[: len(name) - len(ending)]) or is_passed_over(PurePath(name)):
            continue
        if ending:
            # Of a file that is whole, what is left of a download is no matter; aria2 keeps its own beside a broken one.
            if ending == ".aria2" or not path.with_name(name[: -len(ending)]).is_file():
                raise InputError(f"{shown}/{name}: expected a whole file, found an unfinished download; finish it")
        elif path.is_file():
            found.append(path)
        elif path.is_symlink() and not path.exists():
            raise InputError(
                f"{shown}/{name}: expected a file, found a link to {os.readlink(path)}, which does not exist"
            )
    for path, missing in missing_shards(found).items():
        names = ", ".join(missing[:5]) + ", ..." * (len(missing) > 5)
        raise InputError(
            f"{shown}: expected all shards of {path.name}, found none named {names}; fetch what is missing"
        )
    return found


def missing_shards(files: Iterable[Path]) -> dict[Path, list[str]]:
    """Return the names of the shards that are not among ``files``, by the first of those that belong to them.

    Shards are counted from 0 or from 1: from 1 where the last number is that of all.
    """
    groups: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for path in files:
        if shard := _SHARD.search(path.name):
            key = (f"{path.parent}/{_SHARD.sub('', path.name)}", shard[2])
            groups[key][int(shard[1])] = path
    missing = {}
    for (_, total), found in groups.items():
        first = 1 if int(total) in found and 0 not in found else 0
        lacking = sorted(set(range(first, first + int(total))) - found.keys()) if len(total) < 7 else []
        if lacking:
            example = next(iter(found.values()))
            shard = _SHARD.search(example.name)
            before, after = example.name[: shard.start()], example.name[shard.end() :]
            missing[example] = [f"{before}-{number:0{len(shard[1])}}-of-{total}{after}" for number in lacking]
    return missing


def by_meaning(folder: Path, shown: str, meanings: dict[str, str]) -> dict[str, list[Path]]:
    """Return the tables of a folder by what their names, in any case, mean: one file each, or all shards of one.

    Raises:
        InputError: two files mean the same, or one is not whole (:func:`matching`).
    """

    def meaning(name: str) -> str | None:
        inner = PurePath(unpacked(name))
        suffix = inner.suffix.lower()
        is_table = suffix in SUFFIXES or (not suffix and name.lower().endswith(".zip"))
        return meanings.get(inner.stem.lower()) if is_table else None

    found: dict[str, list[Path]] = defaultdict(list)
    for path in matching(folder, shown, meaning):
        found[meaning(path.name)].append(path)
    for what, paths in found.items():
        kinds = {_SHARD.sub(lambda shard: f"-of-{shard[2]}", path.name): path.name for path in paths}
        if len(kinds) > 1:
            raise InputError(f"{shown}: expected one file for {what}, found {' and '.join(kinds.values())}")
    return found


def unread(folder: Path, read: set[Path]) -> list[str]:
    """Return the files below ``folder`` that are not among ``read``, sorted, but those without rows by their names."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_passed_over(PurePath(name))]
        paths = (Path(place, name) for name in names if not is_passed_over(PurePath(name)))
        found += [path.relative_to(folder).as_posix() for path in paths if path not in read]
    return sorted(found)
