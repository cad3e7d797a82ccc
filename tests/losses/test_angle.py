import math

import pytest
import torch
from sentence_transformers.util import pairwise_angle_sim
from torch.nn.functional import normalize

from codiemb_pipeline.losses.angle import angle
from codiemb_pipeline.losses.cosent import cosent


def test_two_pairs_by_hand(value_and_gradients):
    """One complex number per text. Pair 0: z = w = 1, q = 1, s = 1. Pair 1: z = i, w = (1 + i) / sqrt 2.

    q = z conj(w) = i (1 - i) / sqrt 2 = (1 + i) / sqrt 2, so s = sqrt 2, though the cosine is 1 / sqrt 2. Gold has
    pair 0 above pair 1: loss = log(1 + exp((sqrt 2 - 1) / 0.5)).
    """
    half = math.sqrt(0.5)
    value, gradients = value_and_gradients(
        lambda a, b: angle(a, b, torch.tensor([0.9, 0.1]), temperature=0.5),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64),
        torch.tensor([[1.0, 0.0], [half, half]], dtype=torch.float64),
    )
    assert value.item() == pytest.approx(math.log(1 + math.exp((math.sqrt(2) - 1) / 0.5)), rel=1e-6)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_its_similarity_is_that_of_sentence_transformers(generator):
    a, b = (torch.randn(6, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    gold = torch.rand(6, generator=generator)
    expected = cosent(pairwise_angle_sim(a, b), gold, temperature=0.05)
    assert angle(a, b, gold, temperature=0.05).item() == pytest.approx(expected.item())


def test_the_gradient_does_not_vanish_where_the_cosine_is_at_its_top(value_and_gradients, generator):
    """All pairs are of equal texts, where the gradient of every cosine, and with it CoSENT's, is 0."""
    a = normalize(torch.randn(3, 4, generator=generator, dtype=torch.float64), dim=1)
    gold = torch.tensor([0.1, 0.5, 0.9])
    _, by_angle = value_and_gradients(lambda x, y: angle(x, y, gold, temperature=0.05), a, a.clone())
    _, by_cosine = value_and_gradients(
        lambda x, y: cosent(torch.cosine_similarity(x, y), gold, temperature=0.05), a, a.clone()
    )
    assert by_cosine[0].abs().max() < 1e-9
    assert by_angle[0].abs().max() > 1e-3


@pytest.mark.parametrize("gold", [[], [0.5], [0.5, 0.5]], ids=["no pair", "one pair", "constant gold"])
@pytest.mark.parametrize("embeddings", ["random", "zero"])
def test_degenerate_batches_are_a_connected_zero(value_and_gradients, generator, gold, embeddings):
    a, b = (torch.randn(len(gold), 4, generator=generator) * (embeddings == "random") for _ in range(2))
    value, gradients = value_and_gradients(lambda x, y: angle(x, y, torch.tensor(gold), temperature=0.05), a, b)
    assert value == 0
    assert [gradient.abs().sum() for gradient in gradients] == [0, 0]


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 4), (3, 4)), ((4,), (4,))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="D even"):
        angle(*map(torch.ones, shapes), torch.ones(2), temperature=0.05)
