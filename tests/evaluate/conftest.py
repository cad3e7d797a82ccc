from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mini_benchmarks import block_sockets, keep_prepared_copies_in, write_mini_benchmarks

from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.evaluate import mteb_encoder


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose ``hub`` holds the module's ``NAMES`` in miniature; ``datasets`` prepares copies; no sockets."""
    folder = tmp_path_factory.mktemp("hub-tasks")
    with pytest.MonkeyPatch.context() as patch:
        block_sockets(patch)
        keep_prepared_copies_in(folder / "prepared", patch)
        write_mini_benchmarks(folder / "hub", request.module.NAMES)
        yield folder


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record label and prefix of every call that encodes for mteb."""
    calls: list[tuple[str, str]] = []

    def spy(*arguments: Any, **options: Any) -> Any:
        calls.append((options["progress"], options["prefix"]))
        return encode_texts(*arguments, **options)

    monkeypatch.setattr(mteb_encoder, "encode_texts", spy)
    return calls
