"""PRO: every pair against all pairs that people scored lower."""

import torch
from torch import Tensor

from codiemb_pipeline.losses.operands import check_temperature, connected_zero, scored_pairs

TIE = 1e-8  # gold scores no further apart are tied, as in the released code


def pro(predicted: Tensor, gold: Tensor, *, temperature: float) -> Tensor:
    """Return the mean log-loss of picking each pair among itself and all pairs with a lower human score.

    For each pair k with a tail, that is the pairs j with y_k - y_j > 1e-8 (y = ``gold``, s = ``predicted``), with
    w_kj = y_k - y_j and w_kk = max_j w_kj:
    l_k = -log( exp(w_kk s_k / T) / (exp(w_kk s_k / T) + sum_{j in tail} exp(w_kj s_j / T)) );
    loss = mean of l_k over the k that have a tail.

    Source: the STS objective of CoDiEmb (arXiv 2508.11442), after "Large Language Model based Long-tail Query Rewriting
    in Taobao Search" (arXiv 2311.03758) and Preference Ranking Optimization (arXiv 2306.17492); in the released code
    (TencentCloudADP/youtu-embedding @9a0d6f3, ``train/loss.py``) ``PROLoss``, a Python loop over the sorted pairs. Ours
    has all of it at once as an (n, n) matrix and needs no sorting, since a tail depends on the scores alone. Same
    values; without any tail theirs is a 0 without a graph.

    Args:
        predicted: (n,) similarities by the model.
        gold: (n,) human scores. Their scale counts: it multiplies the similarities.
        temperature: T, above 0.

    Returns:
        Scalar above 0, float32 (float64 for float64 predictions). No tail (constant gold, fewer than two pairs): 0,
        connected to ``predicted``. Constant predictions are nothing special.

    Raises:
        ValueError: not two lists of the same length, a temperature that is not finite and above 0, or (on the CPU) an
            operand that is not finite.
    """
    check_temperature(temperature)
    predicted, gold = scored_pairs(predicted, gold)
    if len(predicted) < 2:
        return connected_zero(predicted, gold)
    weights = gold[:, None] - gold  # (n, n), w_kj
    others = (weights <= TIE).fill_diagonal_(False)  # neither k itself nor in its tail
    largest = weights.amax(dim=1)  # (n,), w_kk; no more than a tie where there is no tail
    weights.diagonal().copy_(largest)
    # The diagonal always stays: without a tail it is the softmax of one logit, whose loss and gradient are 0.
    # log_softmax, not logsumexp less the diagonal: the whole loss is then some 2.5 times as fast on CPU (n = 512).
    logits = (weights * (predicted / temperature)).masked_fill_(others, -torch.inf)
    losses = -logits.log_softmax(dim=1).diagonal()
    return losses.sum() / (largest > TIE).sum().clamp(min=1)
