import logging
from pathlib import Path
from typing import Any

import pytest

from codiemb_pipeline.evaluate.cache import ResultCache

KEY = {"weights": "abc", "prefixes": ["query: ", ""], "definition": {"split": "test", "without_pairs_of": ["sick"]}}
RESULT = {"main_score": 0.5, "scores": {"map_at_10": 0.25}}


class Computing:
    """Gives results and counts how often it was asked."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result, self.calls = result, 0

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        return self.result


def never() -> dict[str, Any]:
    raise AssertionError("computed what is in the cache")


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    return ResultCache(tmp_path / "cache")


def test_a_result_is_computed_once_and_found_by_its_key_in_any_order(cache, tmp_path):
    compute = Computing(RESULT)
    assert cache.get(KEY, compute) == RESULT
    assert compute.calls == 1
    assert ResultCache(tmp_path / "cache").get(dict(reversed(KEY.items())), never) == RESULT


@pytest.mark.parametrize("change", [{"weights": "abd"}, {"prefixes": ["", "query: "]}, {"more": None}])
def test_another_key_is_another_result(cache, change):
    cache.get(KEY, Computing(RESULT))
    other = Computing({"main_score": 0.75})
    assert cache.get(KEY | change, other) == {"main_score": 0.75}
    assert other.calls == 1
    assert (cache.get(KEY, never), cache.get(KEY | change, never)) == (RESULT, {"main_score": 0.75})


@pytest.mark.parametrize("content", [b"", b'{"main_sc', b"[1, 2]", b"null", b"\xff\xfe"])
def test_a_damaged_file_is_dropped_said_so_and_computed_again(cache, tmp_path, caplog, content):
    cache.get(KEY, Computing(RESULT))
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(content)
    again = Computing({"main_score": 0.75})
    with caplog.at_level(logging.INFO):
        assert cache.get(KEY, again) == {"main_score": 0.75}
    assert again.calls == 1
    assert file.name in caplog.text
    assert cache.get(KEY, never) == {"main_score": 0.75}


def test_a_computation_that_fails_leaves_nothing_behind(cache, tmp_path):
    def broken() -> dict[str, Any]:
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        cache.get(KEY, broken)
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
    assert cache.get(KEY, Computing(RESULT)) == RESULT
