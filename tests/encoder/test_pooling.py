import pytest
import torch

from codiemb_pipeline.encoder.text_encoder import pool

# Five positions of one text; the value tells the position.
STATES = torch.tensor([[[1.0, -1.0], [2.0, -2.0], [4.0, -4.0], [8.0, -8.0], [16.0, -16.0]]])
RIGHT = torch.tensor([[1, 1, 1, 0, 0]])
LEFT = torch.tensor([[0, 0, 1, 1, 1]])
FULL = torch.ones(1, 5, dtype=torch.long)


@pytest.mark.parametrize(
    ("pooling", "mask", "skipped", "expected"),
    [
        ("cls", RIGHT, None, 1.0),
        ("cls", RIGHT, 2, 1.0),  # the prompt is no matter here
        ("cls", LEFT, None, 4.0),
        ("last", RIGHT, None, 4.0),
        ("last", RIGHT, 2, 4.0),
        ("last", LEFT, None, 16.0),
        ("last", FULL, None, 16.0),
        ("mean", RIGHT, None, 7 / 3),
        ("mean", LEFT, None, 28 / 3),
        ("mean", FULL, None, 31 / 5),
        ("mean", RIGHT, 0, 7 / 3),
        ("mean", RIGHT, 1, 3.0),
        ("mean", RIGHT, 2, 4.0),
        ("mean", RIGHT, 3, 4.0),  # all prompt: the last token is kept
        ("mean", RIGHT, 9, 4.0),
        ("mean", LEFT, 1, 12.0),
        ("mean", LEFT, 3, 16.0),
        ("weighted_mean", RIGHT, None, (1 * 1 + 2 * 2 + 3 * 4) / 6),
        ("weighted_mean", LEFT, None, (1 * 4 + 2 * 8 + 3 * 16) / 6),
        ("weighted_mean", FULL, None, (1 * 1 + 2 * 2 + 3 * 4 + 4 * 8 + 5 * 16) / 15),
        ("weighted_mean", RIGHT, 0, 17 / 6),
        ("weighted_mean", RIGHT, 1, (2 * 2 + 3 * 4) / 5),  # places count from the start of the whole text
        ("weighted_mean", RIGHT, 2, 4.0),
        ("weighted_mean", RIGHT, 9, 4.0),
        ("weighted_mean", LEFT, 1, (2 * 8 + 3 * 16) / 5),
        ("weighted_mean", FULL, 2, (3 * 4 + 4 * 8 + 5 * 16) / 12),
    ],
)
def test_neither_padding_nor_a_prompt_that_is_skipped_counts(pooling, mask, skipped, expected):
    pooled = pool(STATES, mask, pooling, None if skipped is None else torch.tensor([skipped]))
    torch.testing.assert_close(pooled, torch.tensor([[expected, -expected]]))


def test_every_row_has_its_own_mask_and_prompt():
    pooled = pool(STATES.expand(2, 5, 2), torch.cat([RIGHT, FULL]), "mean", torch.tensor([1, 3]))
    torch.testing.assert_close(pooled[:, 0], torch.tensor([3.0, 12.0]))


def test_half_precision_states_are_averaged_in_float32():
    states = torch.full((1, 3, 1), 1.0, dtype=torch.bfloat16)
    states[0, 2] = 1.0078125  # the next bfloat16
    pooled = pool(states, torch.ones(1, 3, dtype=torch.long), "mean")
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(1 + 0.0078125 / 3, abs=1e-7)
