"""Token states to one vector per text."""

from __future__ import annotations

import torch

from codiemb_pipeline.params.encoder import Pooling

# Those an average is taken over, and from which a prompt may be left out.
MEANS: tuple[Pooling, ...] = ("mean", "weighted_mean")


def pool(
    states: torch.Tensor, mask: torch.Tensor, pooling: Pooling, skipped: torch.Tensor | None = None
) -> torch.Tensor:
    """Return one vector per text.

    Args:
        states: token states, (n, T, D).
        mask: (n, T), 1 on tokens and 0 on padding, on either side.
        pooling: ``cls`` takes the first token, ``last`` the last, ``mean`` averages, ``weighted_mean`` averages with
            weights 1, 2, 3, ... (SGPT, arXiv 2202.08904: under causal attention later tokens have seen more).
        skipped: (n,), how many leading tokens the averages leave out (the first that counts then weighs 1); ``None``
            for none. A text that is all prompt keeps its last token.

    Returns:
        (n, D), float32 or wider.
    """
    states = states.float() if states.dtype in (torch.float16, torch.bfloat16) else states
    rows = torch.arange(len(states), device=states.device)
    first = mask.argmax(dim=1)
    if pooling == "cls":
        return states[rows, first]
    last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    if pooling == "last":
        return states[rows, last]
    positions = torch.arange(mask.shape[1], device=mask.device)
    if skipped is not None:
        begin = torch.minimum(first + skipped, last)
        mask = mask * (positions >= begin.unsqueeze(1))
    if pooling == "weighted_mean":
        mask = mask.cumsum(dim=1) * mask
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
