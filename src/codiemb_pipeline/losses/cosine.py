"""Plain regression of the cosine on the human score, a baseline."""

from torch import Tensor

from codiemb_pipeline.losses.operands import connected_zero, scored_pairs


def cosine_regression(predicted: Tensor, gold: Tensor) -> Tensor:
    """Return the mean squared difference of the model's similarities from the human scores.

    loss = mean_i (s_i - y_i)^2, with s ``predicted`` and y ``gold``.

    Source: Sentence-BERT's regression objective (arXiv 1908.10084, section 3).

    Args:
        predicted: (n,) cosines.
        gold: (n,) human scores on the scale the cosines are to take, [0, 1] in this pipeline.

    Returns:
        Scalar, 0 or above, float32 (float64 for float64 predictions). No pair: 0, connected to ``predicted``. Constant
        gold or predictions are nothing special.

    Raises:
        ValueError: not two lists of the same length, or (on the CPU) an operand that is not finite.
    """
    predicted, gold = scored_pairs(predicted, gold)
    if len(predicted) == 0:
        return connected_zero(predicted)
    return (predicted - gold).square().mean()
