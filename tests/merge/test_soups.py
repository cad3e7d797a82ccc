"""Who is in the soup."""

from collections.abc import Sequence

import pytest

from codiemb_pipeline.merge.soups import greedy_soup, soup_weights


def test_ingredients_share_the_weight_equally() -> None:
    assert soup_weights(["a", "b", "c"], ["c", "a"]).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("ingredients", [[], ["z"]])
def test_a_soup_of_nothing_or_of_strangers_is_refused(ingredients: list[str]) -> None:
    with pytest.raises(ValueError, match="ingredients"):
        soup_weights(["a"], ingredients)


def test_greedy_soup_keeps_what_does_not_lower_the_score() -> None:
    """Alone b 0.7, c 0.6, a 0.5, d 0.4. b+c falls to 0.65: out. b+a equals 0.7: in. b+a+d rises to 0.8: in."""
    asked: list[tuple[str, ...]] = []
    scores = {("b", "c"): 0.65, ("b", "a"): 0.7, ("b", "a", "d"): 0.8}

    def score(names: Sequence[str]) -> float:
        asked.append(tuple(names))
        return scores[tuple(names)]

    soup = greedy_soup({"a": 0.5, "b": 0.7, "c": 0.6, "d": 0.4}, score)
    assert soup.ingredients == ("b", "a", "d")
    assert soup.score == 0.8
    assert asked == [("b", "c"), ("b", "a"), ("b", "a", "d")]
    assert [(trial.candidate, trial.kept) for trial in soup.trials] == [
        ("b", True),
        ("c", False),
        ("a", True),
        ("d", True),
    ]


def test_greedy_soup_of_one_candidate_asks_for_no_score() -> None:
    assert greedy_soup({"a": 0.5}, lambda names: 1 / 0).ingredients == ("a",)
