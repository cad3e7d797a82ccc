"""Model soups (Wortsman et al. 2022, arXiv 2203.05482): plain averages, of all candidates or of those that help.

Only decides who takes part and with which weight.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch


class Trial(NamedTuple):
    """One candidate's turn: the score of the soup with it, and whether it stayed in."""

    candidate: str
    score: float
    kept: bool


class GreedySoup(NamedTuple):
    """What the greedy soup chose: ingredients in the order they were added, its score, and every trial."""

    ingredients: tuple[str, ...]
    score: float
    trials: tuple[Trial, ...]


def soup_weights(candidates: Sequence[str], ingredients: Sequence[str]) -> torch.Tensor:
    """Return the weight of each candidate, float32 (K,): equal for the ingredients, 0 for the others.

    Raises:
        ValueError: no ingredient, or one that is no candidate.
    """
    if not ingredients or not set(ingredients) <= set(candidates):
        raise ValueError(f"ingredients must be some of {list(candidates)}, found {list(ingredients)}")
    share = 1.0 / len(ingredients)
    return torch.tensor([share if name in ingredients else 0.0 for name in candidates])


def greedy_soup(scores: Mapping[str, float], score_soup: Callable[[Sequence[str]], float]) -> GreedySoup:
    """Add candidates from best to worst, keeping each that does not lower the score of the uniform average.

    Args:
        scores: held-out score of each candidate alone, higher is better; equal scores are tried in the mapping's order.
        score_soup: held-out score of the uniform average of the named candidates; called with two or more.

    Raises:
        ValueError: ``scores`` is empty.
    """
    if not scores:
        raise ValueError("a greedy soup needs one candidate at least")
    first, *others = sorted(scores, key=lambda name: -scores[name])
    ingredients, best = [first], scores[first]
    trials = [Trial(first, best, True)]
    for name in others:
        score = score_soup([*ingredients, name])
        kept = score >= best
        if kept:
            ingredients, best = [*ingredients, name], score
        trials.append(Trial(name, score, kept))
    return GreedySoup(tuple(ingredients), best, tuple(trials))
