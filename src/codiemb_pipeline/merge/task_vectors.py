"""Formulas on the task vectors of one tensor: TIES, spherical interpolation, Model Stock.

Throughout K candidates, deltas delta_k = theta_k - theta_0 of shape (K, *S), float32.
"""

import math

import torch

from codiemb_pipeline.merge.delta_fusion import SLICE, fuse_elements

# Below this angle's sine (in float64) the spherical formula divides by next to nothing, and equals the linear one.
NEARLY_PARALLEL = 1e-6


def trim_thresholds(deltas: torch.Tensor, density: float) -> torch.Tensor:
    """Return the smallest magnitude that each candidate keeps, float32 (K,).

    Args:
        deltas: float32 (K, *S), n elements each.
        density: in (0, 1]; the ceil(density n) largest magnitudes are kept, and others equal to the smallest of these.
    """
    flat = deltas.reshape(len(deltas), -1)
    size = flat.shape[1]
    dropped = size - math.ceil(round(density * size, 6))
    return torch.stack([delta.abs().kthvalue(dropped + 1).values for delta in flat])


def ties(base: torch.Tensor, deltas: torch.Tensor, density: float, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the TIES merge (Yadav et al. 2023, arXiv 2306.01708, algorithm 1).

    Per element: trim delta_k to the largest magnitudes of its tensor; elect the sign s = sgn(sum_k trimmed_k); merge

        tau = mean of trimmed_k over { k : sgn(trimmed_k) = s },   theta* = theta_0 + scale tau.

    Where the sum is exactly 0 no sign is elected and tau = 0, as the paper's formula has it; the authors' code takes
    the majority sign of the model instead. They also trim over the whole model, we over the tensor.

    Args:
        base: float32, shape S.
        deltas: float32 (K, *S).
        density: share of each tensor's elements kept.
        scale: lambda in the paper.

    Returns:
        float32, shape S; and float64 (K,), each candidate's mean share of tau times ``scale`` over the moved elements.
    """
    thresholds = trim_thresholds(deltas, density)[:, None]

    def weigh(part: torch.Tensor) -> torch.Tensor:
        kept = torch.where(part.abs() >= thresholds, part, torch.zeros_like(part))
        elected = kept.sum(dim=0).sign()
        agreeing = (kept.sign() == elected) & (elected != 0)
        return agreeing * (scale / agreeing.sum(dim=0).clamp(min=1))

    return fuse_elements(base, deltas, weigh)


def slerp_weights(first: torch.Tensor, second: torch.Tensor, t: float) -> torch.Tensor:
    """Return the weights of two tensors in their spherical interpolation (Shoemake 1985), float64 (2,).

    With Omega the angle between the flattened tensors: sin((1 - t) Omega) / sin Omega and sin(t Omega) / sin Omega;
    1 - t and t where one tensor is zero or they are nearly parallel (or opposite, which leaves the way open).
    The angle is 2 atan2(|u - v|, |u + v|) of the directions u and v, exact also where it is small.

    Args:
        first: float32, shape S.
        second: float32, shape S.
        t: in [0, 1].
    """
    linear = torch.tensor([1.0 - t, t], dtype=torch.float64)
    lengths = [torch.linalg.vector_norm(tensor.flatten(), dtype=torch.float64) for tensor in (first, second)]
    if not all(lengths):
        return linear
    apart = together = 0.0
    one, two = first.flatten(), second.flatten()
    for start in range(0, len(one), SLICE):
        u, v = one[start : start + SLICE].double() / lengths[0], two[start : start + SLICE].double() / lengths[1]
        apart += float((u - v).square().sum())
        together += float((u + v).square().sum())
    omega = 2.0 * math.atan2(math.sqrt(apart), math.sqrt(together))
    if math.sin(omega) < NEARLY_PARALLEL:
        return linear
    shares = [math.sin((1.0 - t) * omega) / math.sin(omega), math.sin(t * omega) / math.sin(omega)]
    return torch.tensor(shares, dtype=torch.float64)


def mean_cosine(deltas: torch.Tensor) -> float:
    """Return the mean cosine over all pairs of deltas (K, *S), K at least 2; that of a zero delta counts as 0."""
    flat = deltas.reshape(len(deltas), -1)
    products = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    for start in range(0, flat.shape[1], SLICE):
        part = flat[:, start : start + SLICE].double()
        products += part @ part.T
    lengths = products.diagonal().sqrt()
    directions = torch.where(lengths > 0, 1.0 / lengths, torch.zeros_like(lengths))
    cosines = products * directions[:, None] * directions
    above = torch.triu(torch.ones_like(cosines, dtype=torch.bool), diagonal=1)
    return float(cosines[above].mean().clamp(-1.0, 1.0))


def stock_ratio(cosine: float, count: int) -> float:
    """Return Model Stock's t = N cos / (1 + (N - 1) cos) (Jang et al. 2024, arXiv 2403.19522), for N = ``count``.

    The paper derives it for one angle between all fine-tuned weights; for N > 2 we take the mean of the pairs' cosines.
    A negative one, which the derivation does not meet, counts as 0 and gives t = 0, which is base.
    """
    cosine = max(cosine, 0.0)
    return count * cosine / (1.0 + (count - 1) * cosine)
