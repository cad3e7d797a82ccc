"""Delta-guided fusion, *our reading* of CoDiEmb's section 2.4 (arXiv 2508.11442), whose formula is not public.

For a part p of the model (an element, a tensor, a layer, or all of it) and candidates k = 1..K:

    delta_k = theta_k - theta_0,   a_kp = f(norm of delta_k over p),   w_kp = a_kp / sum_k a_kp,
    theta*_p = theta_0p + sum_k w_kp delta_kp

The parts come in as tensors. Knows nothing of files, parameter names or which parts make up a layer.
"""

from __future__ import annotations

from typing import Literal

import torch

Norm = Literal["l1", "l2", "max"]
Weighting = Literal["proportional", "inverse", "softmax"]

_ORDERS = {"l1": 1.0, "l2": 2.0, "max": torch.inf}


def delta_norms(deltas: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Return how far each candidate moved.

    Args:
        deltas: float32 (K, *S), candidate minus base.
        norm: sum of absolute values, Euclidean length, or largest absolute value.

    Returns:
        float64 (K,).
    """
    flat = deltas.reshape(len(deltas), -1)
    return torch.linalg.vector_norm(flat, _ORDERS[norm], dim=1, dtype=torch.float64)


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
