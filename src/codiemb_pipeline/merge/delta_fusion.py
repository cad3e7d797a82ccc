"""Delta-guided fusion, *our reading* of CoDiEmb's section 2.4 (arXiv 2508.11442), whose formula is not public.

For a part p of the model (an element, a tensor, a layer, or all of it) and candidates k = 1..K:

    delta_k = theta_k - theta_0,   a_kp = f(norm of delta_k over p),   w_kp = a_kp / sum_k a_kp,
    theta*_p = theta_0p + sum_k w_kp delta_kp

With two levels ("hierarchical") the candidates k of each run r are fused first, then the runs:

    w_kp = a_kp / sum_(j in r) a_jp,   Delta_rp = sum_(k in r) w_kp delta_kp,
    W_rp = f(norm of Delta_rp) / sum_s f(norm of Delta_sp),   candidate k counts W_rp w_kp.

The parts come in as tensors.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch

Norm = Literal["l1", "l2", "max"]
Weighting = Literal["proportional", "inverse", "softmax"]

Members = Sequence[Sequence[int]]

SLICE = 1 << 20  # elements of a tensor that are weighed at a time: keeps the weights from taking as much as the deltas
ROUNDING = 1e-6  # float32 sums are off by up to about this share of what is summed
_ORDERS = {"l1": 1.0, "l2": 2.0, "max": torch.inf}


def delta_norms(deltas: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Return how far each candidate moved, float64 (K,), given candidate minus base, float32 (K, *S)."""
    order = _ORDERS[norm]
    # One by one: a norm in float64 may copy what it is given.
    return torch.stack([torch.linalg.vector_norm(delta.flatten(), order, dtype=torch.float64) for delta in deltas])


def join_norms(first: torch.Tensor, second: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Return the norms (K,) of two parts taken together, given the norms (K,) of each."""
    if norm == "l1":
        return first + second
    return torch.hypot(first, second) if norm == "l2" else torch.maximum(first, second)


def merge_weights(norms: torch.Tensor, weighting: Weighting, tau: float = 1.0) -> torch.Tensor:
    """Return the weights of the candidates, which sum to 1 over the first dimension.

    Args:
        norms: (K, *S), 0 or more.
        weighting: ``proportional``: w ~ norm. ``inverse``: w ~ 1 / norm; where some candidates did not move at all,
            these share the weight, the limit of the formula. ``softmax``: w ~ exp(norm / (tau * mean norm)).
        tau: temperature of ``softmax``, in units of the mean over candidates, so that it means the same in every part;
            below 0 it favours small moves.

    Returns:
        (K, *S), type of ``norms``. Where no candidate moved, all weights are 1 / K.

    Raises:
        ValueError: ``tau`` is 0.
    """
    if weighting == "softmax":
        if tau == 0.0:
            raise ValueError("tau must not be 0")
        mean = norms.mean(dim=0, keepdim=True)
        return torch.softmax(norms / torch.where(mean > 0, mean, torch.ones_like(mean)) / tau, dim=0)
    strengths = norms
    if weighting == "inverse":
        unmoved = norms == 0
        strengths = torch.where(unmoved.any(dim=0), unmoved.to(norms.dtype), _inverse(norms))
    total = strengths.sum(dim=0, keepdim=True)
    return torch.where(total > 0, strengths / total, torch.full_like(strengths, 1.0 / len(norms)))


def _inverse(norms: torch.Tensor) -> torch.Tensor:
    """Return 1 / norms up to a factor common to all candidates, which keeps tiny norms from overflowing."""
    smallest = norms.amin(dim=0, keepdim=True)
    return smallest / torch.where(norms > 0, norms, torch.ones_like(norms))


def fuse(base: torch.Tensor, deltas: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return base plus the weighted sum of deltas.

    Args:
        base: float32, shape S.
        deltas: float32 (K, *S).
        weights: (K,), or (K, *S) for one weight per element.

    Returns:
        float32, shape S.
    """
    fused = base.clone()
    for delta, weight in zip(deltas, weights.to(base.dtype), strict=True):
        fused.addcmul_(delta, weight)
    return fused


def within_runs(norms: torch.Tensor, members: Members, weighting: Weighting, tau: float) -> torch.Tensor:
    """Return the weights (K, *S) of the candidates among those of their own run, given their norms (K, *S).

    ``members`` holds the indices of each run's candidates; the rest as for :func:`merge_weights`.
    """
    weights = torch.empty_like(norms)
    for places in members:
        weights[list(places)] = merge_weights(norms[list(places)], weighting, tau)
    return weights


def fuse_runs(deltas: torch.Tensor, within: torch.Tensor, members: Members) -> torch.Tensor:
    """Return the fused move of each run, float32 (R, *S): the weighted sum of its candidates' moves.

    A sum that cancels except for rounding is set to 0. (With ``inverse`` per element all weighted moves of a run are
    equally large, so two of opposite sign cancel; the rounding noise would then choose between runs.)

    Args:
        deltas: float32 (K, *S).
        within: (K,) or (K, *S), see :func:`within_runs`.
        members: the indices of each run's candidates.
    """
    fused = torch.zeros((len(members), *deltas.shape[1:]))
    for target, places in zip(fused, members, strict=True):
        mass = torch.zeros_like(target)
        for place in places:
            weight = within[place].to(target.dtype)
            target.addcmul_(deltas[place], weight)
            mass.addcmul_(deltas[place].abs(), weight)
        target[target.abs() <= ROUNDING * mass] = 0.0
    return fused


def across_runs(within: torch.Tensor, run_weights: torch.Tensor, members: Members) -> torch.Tensor:
    """Return each candidate's weight: that within its run times its run's. Shapes (K, *S), (R, *S) -> (K, *S)."""
    weights = torch.empty_like(within)
    for places, run_weight in zip(members, run_weights, strict=True):
        weights[list(places)] = within[list(places)] * run_weight
    return weights


def fuse_elements(
    base: torch.Tensor, deltas: torch.Tensor, weigh: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fuse with one weight per element, some elements at a time.

    Args:
        base: float32, shape S.
        deltas: float32 (K, *S).
        weigh: deltas (K, n) of n elements -> their weights (K, n).

    Returns:
        float32, shape S; and float64 (K,), the mean weights over the elements that some candidate moved.
    """
    fused, total = torch.empty_like(base).flatten(), torch.zeros(len(deltas), dtype=torch.float64)
    count = 0
    for part_of_base, part, target in _slices(base, deltas, fused):
        weights = weigh(part)
        target.copy_(fuse(part_of_base, part, weights))
        moved = (part != 0).any(dim=0)
        total += (weights * moved).sum(dim=1, dtype=torch.float64)
        count += int(moved.sum())
    return fused.reshape(base.shape), total / max(count, 1)


def _slices(
    base: torch.Tensor, deltas: torch.Tensor, fused: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    flat_base, flat_deltas = base.flatten(), deltas.reshape(len(deltas), -1)
    for start in range(0, len(flat_base), SLICE):
        stop = start + SLICE
        yield flat_base[start:stop], flat_deltas[:, start:stop], fused[start:stop]
