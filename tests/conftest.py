"""What many tests share: a tiny random encoder on disk, its settings, and how many examples hypothesis tries."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub
from hypothesis import HealthCheck, settings
from tiny_encoder import make_tiny_encoder

from codiemb_pipeline.params import EncoderParams

UNTIMED = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("few", max_examples=20, derandomize=True, **UNTIMED)
settings.register_profile("fuzz", **UNTIMED)  # random; a failing example is kept in .hypothesis and tried first
CASES = int(os.environ.get("FUZZ_CASES", "0"))  # `make fuzz`: examples that all collected property tests share
settings.load_profile("fuzz" if CASES else "few")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with many slow tests first, so that no process is left alone with one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
    properties = [item.function for item in items if CASES and hasattr(item.function, "hypothesis")]
    for function in set(properties):
        settings(max_examples=-(-CASES // len(properties)))(function)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub that this process asks, with an empty cache."""
    with Hub() as hub:
        hub.use_in(tmp_path / "hub-home", monkeypatch)
        yield hub


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_encoder_params(tiny_encoder_folder: Path) -> EncoderParams:
    prompts = {
        "template": "{instruction}: ",
        "document_prefix": "",
        "in_pooling": True,
        "instructions": {"ir": "query"},
    }
    values = {
        "path": str(tiny_encoder_folder),
        "revision": None,
        "trust_remote_code": False,
        "bidirectional": False,
        "pooling": "mean",
        "projection": None,
        "dimensions": None,
        "normalize": True,
        "max_length": 32,
        "append_eos": False,
        "padding_side": "right",
        "prompts": prompts,
    }
    return EncoderParams.parse(values, "encoder")
