"""Several processes judge what one judges, to the byte; longest first; a failure costs its own result alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluate_params import evaluate_params
from mini_benchmarks import write_mini_benchmarks
from source_tables import WORDS, write_pairs
from tiny_encoder import make_tiny_encoder

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.evaluate.evaluator import Evaluator
from codiemb_pipeline.evaluate.run import evaluate_models, longest_first
from codiemb_pipeline.params import EncoderParams

HUB = ("STSB", "VideoRetrieval", "LCQMC")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the paper's benchmarks in miniature, a source of pairs, and three models, two of them equal."""
    root = tmp_path_factory.mktemp("processes")
    write_mini_benchmarks(root / "hub")
    texts = zip("abcdefghij", "bcdaefgjih", strict=True)
    write_pairs(root / "sources/words", [(f"the {a} dog", f"a {b} cat", n / 9) for n, (a, b) in enumerate(texts)])
    make_tiny_encoder(root / "models/base")
    shutil.copytree(root / "models/base", root / "models/copy")
    return root


def without_times(content: bytes) -> Any:
    """Return a JSON file's content without what mteb writes of the clock."""
    value = json.loads(content)
    if isinstance(value, dict):
        for name in ("evaluation_time", "date"):
            value.pop(name, None)
    return value


@pytest.fixture
def evaluate(root: Path, tiny_encoder_params: EncoderParams) -> Callable[..., dict[str, bytes]]:
    def run(place: Path, processes: int, **more: dict[str, Any]) -> dict[str, bytes]:
        entries: dict[str, Any] = {
            name: {"type": "mteb", "path": str(root / "hub" / BENCHMARKS[name].hub_id)} for name in HUB
        }
        entries |= {"Words": WORDS, **more}
        settings = evaluate_params(entries, processes=processes, geometry={"seed": 1, "texts": 20})
        models = {"base": root / "models/base", "copy": root / "models/copy"}
        evaluate_models(settings, tiny_encoder_params, models, root / "sources", place / "work", place / "out")
        return {str(path.relative_to(place / "out")): path.read_bytes() for path in (place / "out").rglob("*.json")}

    return run


@pytest.mark.dist
@pytest.mark.slow
def test_two_processes_write_the_results_of_one(evaluate, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    one = evaluate(tmp_path / "one", 1)
    assert len(one) == 2 * 4 * 2 + 2 * 4 + 3 + 2, "results, items; mteb's format and its meta; gold; summary, geometry"

    def refuse(*_: Any) -> Any:
        raise AssertionError("this process is to take all from the cache")

    monkeypatch.setattr(Evaluator, "_run", refuse)
    two = evaluate(tmp_path / "two", 2)
    assert {name: without_times(two[name]) for name in two} == {name: without_times(one[name]) for name in one}
    left = [path.suffix for path in (tmp_path / "two/work/evaluate").iterdir()]
    assert left == [".lock"], "work in progress was left behind"


@pytest.mark.dist
@pytest.mark.slow
def test_a_benchmark_that_fails_in_a_process_is_named_and_the_others_are_kept(evaluate, tmp_path, monkeypatch, root):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    alike = [("one", "two", 0.5), ("three", "four", 0.5)]  # gold without spread has no correlation
    write_pairs(root / "sources/flat", alike)
    flat = {"Flat": {**WORDS, "source": "flat"}}
    with pytest.raises(PipelineError) as told:
        evaluate(tmp_path, 2, **flat)
    lines = str(told.value).splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["evaluation of base on Flat failed"] * 2, "copy is base"
    assert "all other results are kept" in lines[-1]
    assert len(list((tmp_path / "work/results").glob("*.json"))) >= 4


def test_the_longest_benchmark_comes_first_a_pair_counting_as_two_texts():
    class Sized:
        def __init__(self, name: str, **size: int) -> None:
            self.name, self.size = name, size

    small, pairs = Sized("small", queries=5, documents=10), Sized("pairs", pairs=9)
    large = Sized("large", queries=1, documents=30)
    jobs = [("a", small), ("b", small), ("a", pairs), ("a", large), ("b", pairs)]
    assert longest_first(jobs) == [("a", large), ("a", pairs), ("b", pairs), ("a", small), ("b", small)]
