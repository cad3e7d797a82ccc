"""Which tensors of base and candidates belong together.

Names and shapes must agree, with these exceptions, all of them told:

- base may put one word before every name (``bert.``, of a model with a head); tensors without it are left out;
- tied weights may be stored under one name or under both: a matrix (two dimensions or more, not all one value) that
  equals another of the same folder is its twin; the name that not everybody stores is dropped;
- base may hold a tied matrix under the other name only: it must be like the candidates' (cosine above 0.9);
- integer tensors and whole side modules may be missing somewhere: left out, as such a folder does without;
- what base lacks and all of two or more candidates hold alike (a pooler nobody trained) is copied.

Knows nothing of how tensors are merged.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import torch

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.merge.stored import TensorFolder

LIKE = 0.9


@dataclass
class Alignment:
    """What belongs together.

    Attributes:
        floating: names of the tensors that are merged, sorted.
        constant: names of those that are copied (integers, and what only the candidates hold), sorted.
        left_out: names that are stored somewhere and not in the result.
        tied: names that are not in the result because another holds the same weights, which is the value.
        base_names: names that base stores otherwise, by the candidates' name.
    """

    floating: list[str] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    tied: dict[str, str] = field(default_factory=dict)
    base_names: dict[str, str] = field(default_factory=dict)


def align(base: TensorFolder, candidates: Sequence[TensorFolder]) -> Alignment:
    """Return which tensors belong together; a prefix of base's names is taken off.

    Raises:
        InputError: a tensor is missing or of another shape; names the file and the tensor.
    """
    found = Alignment()
    shared = set.intersection(*(set(folder.tensors) for folder in candidates))
    prefix = _prefix(base, shared)
    if prefix:
        found.left_out |= set(base.drop_prefix(prefix))
    _settle_candidates(found, candidates, shared)
    _settle_missing_in_base(found, base, candidates, shared)
    _settle_only_in_base(found, base, candidates, shared)
    for name in sorted(shared - set(found.constant)):
        _check_alike(name, base, found.base_names.get(name, name), candidates)
        floating = candidates[0].tensors[name].dtype is not None
        (found.floating if floating else found.constant).append(name)
    found.constant.sort()
    return found


def _prefix(base: TensorFolder, shared: Collection[str]) -> str:
    """Return the word, with its dot, that base puts before the names of the candidates; empty when there is none."""
    wanted = {name for name in shared if "/" not in name}
    if wanted & base.tensors.keys():
        return ""
    words = sorted({f"{name.partition('.')[0]}." for name in base.tensors})
    covered = {word: sum(word + name in base.tensors for name in wanted) for word in words}
    best = max(words, key=covered.__getitem__, default="")
    return best if covered.get(best) else ""


def _settle_candidates(found: Alignment, candidates: Sequence[TensorFolder], shared: set[str]) -> None:
    """Tell what becomes of tensors that some candidates hold and others do not."""
    for folder in candidates:
        for name in sorted(folder.tensors.keys() - shared):
            if folder.tensors[name].dtype is None:
                found.left_out.add(name)
            elif twin := _twin(folder, name, shared):
                found.tied[name] = twin
            else:
                _refuse(next(other for other in candidates if name not in other.tensors), name, folder)


def _settle_missing_in_base(
    found: Alignment, base: TensorFolder, candidates: Sequence[TensorFolder], shared: set[str]
) -> None:
    """Tell what becomes of tensors that all candidates hold and base does not; tied ones leave ``shared``."""
    for name in sorted(shared - base.tensors.keys()):
        both = shared & base.tensors.keys()
        twins = {_twin(folder, name, both) for folder in candidates}
        twin = twins.pop() if len(twins) == 1 else None
        free = base.tensors.keys() - shared - set(found.base_names.values())
        if candidates[0].tensors[name].dtype is None:
            found.constant.append(name)
        elif twin:
            found.tied[name] = twin
            shared.discard(name)
        elif renamed := _renamed(base, candidates[0], name, free):
            found.tied[renamed] = name
            found.base_names[name] = renamed
        elif len(candidates) > 1 and _equal_in_all(candidates, name):
            found.constant.append(name)
        else:
            _refuse(candidates[0], name, base)


def _settle_only_in_base(
    found: Alignment, base: TensorFolder, candidates: Sequence[TensorFolder], shared: set[str]
) -> None:
    """Tell what becomes of tensors that base holds and no or not every candidate."""
    modules = {module for folder in candidates for module in folder.modules}
    for name in sorted(base.tensors.keys() - shared - found.tied.keys()):
        module = name.rpartition("/")[0]
        if base.tensors[name].dtype is None or (module and module not in modules):
            found.left_out.add(name)
        elif twin := _twin(base, name, shared):
            found.tied[name] = twin
        else:
            _refuse(next(folder for folder in candidates if name not in folder.tensors), name, base)


def _check_alike(name: str, base: TensorFolder, base_name: str, candidates: Sequence[TensorFolder]) -> None:
    for folder in candidates:
        if folder.describe(name) != base.describe(base_name):
            _refuse(folder, name, base, base_name)


def _refuse(folder: TensorFolder, name: str, reference: TensorFolder, reference_name: str | None = None) -> NoReturn:
    told = reference_name or name
    raise InputError(
        f"{folder.file_of(name)}: tensor {name!r}: expected {reference.describe(told)} as in "
        f"{reference.file_of(told)}, found {folder.describe(name)}"
    )


def _twin(folder: TensorFolder, name: str, among: Collection[str]) -> str | None:
    """Return the name of ``among`` under which ``folder`` holds the same matrix as under ``name``."""
    stored = folder.tensors[name]
    if stored.dtype is None or len(stored.shape) < 2:
        return None
    likely = [
        other
        for other in sorted(among)
        if other != name and other in folder.tensors and folder.describe(other) == folder.describe(name)
    ]
    if not likely:
        return None
    tensor = folder.read(name)
    if bool((tensor == tensor.flatten()[0]).all()):
        return None
    return next((other for other in likely if torch.equal(folder.read(other), tensor)), None)


def _renamed(base: TensorFolder, candidate: TensorFolder, name: str, among: Collection[str]) -> str | None:
    """Return the name of ``among`` under which ``base`` holds a matrix like the candidate's ``name``."""
    if len(candidate.tensors[name].shape) < 2:
        return None
    for other in sorted(among):
        if base.describe(other) == candidate.describe(name):
            one, two = base.read(other).float().flatten(), candidate.read(name).float().flatten()
            if float(torch.cosine_similarity(one, two, dim=0)) > LIKE:
                return other
    return None


def _equal_in_all(folders: Sequence[TensorFolder], name: str) -> bool:
    first = folders[0].read(name)
    return all(torch.equal(first, folder.read(name)) for folder in folders[1:])
