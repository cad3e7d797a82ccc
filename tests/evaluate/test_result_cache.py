"""Finished results: found again, never mistaken, never half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from codiemb_pipeline.evaluate.cache import ResultCache


def test_a_result_is_computed_once_per_key(tmp_path: Path) -> None:
    cache, calls = ResultCache(tmp_path), []

    def compute() -> dict[str, int]:
        calls.append(1)
        return {"score": len(calls)}

    assert cache.get({"weights": "a"}, compute) == {"score": 1}
    assert cache.get({"weights": "a"}, compute) == {"score": 1}
    assert cache.get({"weights": "b"}, compute) == {"score": 2}


@pytest.mark.parametrize("content", [b"", b'{"score": 0.', b"\xff\xfe", b"[1]"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, content: bytes) -> None:
    cache = ResultCache(tmp_path)
    cache.get({"weights": "a"}, lambda: {"score": 1})
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert cache.get({"weights": "a"}, lambda: {"score": 2}) == {"score": 2}
    assert cache.get({"weights": "a"}, lambda: {"score": 3}) == {"score": 2}


def test_a_failed_computation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        ResultCache(tmp_path).get({"weights": "a"}, lambda: {"score": 1 / 0})
    assert list(tmp_path.iterdir()) == []
