import pytest
import torch

from codiemb_pipeline.encoder.text_encoder import pool

# Five positions of one text; the value tells the position.
STATES = torch.tensor([[[1.0, -1.0], [2.0, -2.0], [4.0, -4.0], [8.0, -8.0], [16.0, -16.0]]])
RIGHT = torch.tensor([[1, 1, 1, 0, 0]])
LEFT = torch.tensor([[0, 0, 1, 1, 1]])
FULL = torch.ones(1, 5, dtype=torch.long)


@pytest.mark.parametrize(
    ("pooling", "mask", "expected"),
    [
        ("cls", RIGHT, 1.0),
        ("cls", LEFT, 4.0),
        ("last", RIGHT, 4.0),
        ("last", LEFT, 16.0),
        ("last", FULL, 16.0),
        ("mean", RIGHT, 7 / 3),
        ("mean", LEFT, 28 / 3),
        ("mean", FULL, 31 / 5),
        ("weighted_mean", RIGHT, (1 * 1 + 2 * 2 + 3 * 4) / 6),
        ("weighted_mean", LEFT, (1 * 4 + 2 * 8 + 3 * 16) / 6),
        ("weighted_mean", FULL, (1 * 1 + 2 * 2 + 3 * 4 + 4 * 8 + 5 * 16) / 15),
    ],
)
def test_padding_counts_nowhere(pooling, mask, expected):
    torch.testing.assert_close(pool(STATES, mask, pooling), torch.tensor([[expected, -expected]]))


@pytest.mark.parametrize(
    ("mask", "skipped", "expected"),
    [
        (RIGHT, 0, 7 / 3),
        (RIGHT, 1, 3.0),
        (RIGHT, 2, 4.0),
        (RIGHT, 3, 4.0),  # all prompt: the last token is kept
        (RIGHT, 9, 4.0),
        (LEFT, 1, 12.0),
        (LEFT, 3, 16.0),
    ],
)
def test_mean_leaves_out_the_prompt_but_never_every_token(mask, skipped, expected):
    pooled = pool(STATES, mask, "mean", torch.tensor([skipped]))
    torch.testing.assert_close(pooled, torch.tensor([[expected, -expected]]))


@pytest.mark.parametrize(
    ("mask", "skipped", "expected"),
    [
        (RIGHT, 0, 17 / 6),
        (RIGHT, 1, (1 * 2 + 2 * 4) / 3),  # the first token that counts weighs 1
        (RIGHT, 2, 4.0),
        (RIGHT, 9, 4.0),
        (LEFT, 1, (1 * 8 + 2 * 16) / 3),
        (FULL, 2, (1 * 4 + 2 * 8 + 3 * 16) / 6),
    ],
)
def test_the_weighted_mean_counts_from_the_first_token_after_the_prompt(mask, skipped, expected):
    pooled = pool(STATES, mask, "weighted_mean", torch.tensor([skipped]))
    torch.testing.assert_close(pooled, torch.tensor([[expected, -expected]]))


@pytest.mark.parametrize("pooling", ["cls", "last"])
def test_cls_and_last_do_not_care_for_the_prompt(pooling):
    assert torch.equal(pool(STATES, RIGHT, pooling, torch.tensor([2])), pool(STATES, RIGHT, pooling))


def test_every_row_has_its_own_mask_and_prompt():
    pooled = pool(STATES.expand(2, 5, 2), torch.cat([RIGHT, FULL]), "mean", torch.tensor([1, 3]))
    torch.testing.assert_close(pooled[:, 0], torch.tensor([3.0, 12.0]))


def test_half_precision_states_are_averaged_in_float32():
    states = torch.full((1, 3, 1), 1.0, dtype=torch.bfloat16)
    states[0, 2] = 1.0078125  # the next bfloat16
    pooled = pool(states, torch.ones(1, 3, dtype=torch.long), "mean")
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(1 + 0.0078125 / 3, abs=1e-7)
