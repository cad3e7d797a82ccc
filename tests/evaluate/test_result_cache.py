import logging
from pathlib import Path
from unittest.mock import Mock

import pytest

from codiemb_pipeline.evaluate.cache import ResultCache

KEY = {"weights": "abc", "prefixes": ["query: ", ""], "definition": {"split": "test", "without_pairs_of": ["sick"]}}
RESULT = {"main_score": 0.5, "scores": {"map_at_10": 0.25}}


never = Mock(side_effect=AssertionError("computed what is in the cache"))


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    return ResultCache(tmp_path / "cache")


def test_a_result_is_computed_once_and_found_by_its_key_in_any_order(cache, tmp_path):
    compute = Mock(return_value=RESULT)
    assert cache.get(KEY, compute) == RESULT
    assert compute.call_count == 1
    assert ResultCache(tmp_path / "cache").get(dict(reversed(KEY.items())), never) == RESULT


@pytest.mark.parametrize("change", [{"weights": "abd"}, {"prefixes": ["", "query: "]}, {"more": None}])
def test_another_key_is_another_result(cache, change):
    cache.get(KEY, Mock(return_value=RESULT))
    other = Mock(return_value={"main_score": 0.75})
    assert cache.get(KEY | change, other) == {"main_score": 0.75}
    assert other.call_count == 1
    assert (cache.get(KEY, never), cache.get(KEY | change, never)) == (RESULT, {"main_score": 0.75})


@pytest.mark.parametrize("content", [b"", b'{"main_sc', b"[1, 2]", b"null", b"\xff\xfe"])
def test_a_damaged_file_is_dropped_said_so_and_computed_again(cache, tmp_path, caplog, content):
    cache.get(KEY, Mock(return_value=RESULT))
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(content)
    again = Mock(return_value={"main_score": 0.75})
    with caplog.at_level(logging.INFO):
        assert cache.get(KEY, again) == {"main_score": 0.75}
    assert again.call_count == 1
    assert file.name in caplog.text
    assert cache.get(KEY, never) == {"main_score": 0.75}


def test_a_computation_that_fails_leaves_nothing_behind(cache, tmp_path):
    with pytest.raises(RuntimeError, match="out of luck"):
        cache.get(KEY, Mock(side_effect=RuntimeError("out of luck")))
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
    assert cache.get(KEY, Mock(return_value=RESULT)) == RESULT
