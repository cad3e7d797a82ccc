"""Encoder settings that differ from the tiny encoder's in named places, and a tiny decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_encoder import make_tiny_decoder

from codiemb_pipeline.params import EncoderParams

Change = Callable[..., EncoderParams]


@pytest.fixture(scope="session")
def changed(tiny_encoder_params: EncoderParams) -> Change:
    """Return the tiny encoder's settings with some replaced; ``prompts`` is merged, not replaced."""

    def change(prompts: dict[str, Any] | None = None, **values: Any) -> EncoderParams:
        dump = tiny_encoder_params.model_dump()
        return EncoderParams.parse({**dump, **values, "prompts": {**dump["prompts"], **(prompts or {})}}, "encoder")

    return change


@pytest.fixture(scope="session")
def tiny_decoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_decoder(tmp_path_factory.mktemp("tiny-decoder"))


@pytest.fixture(scope="module")
def own_code_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the copies that transformers makes of a model's code out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("modules")
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache))
        patch.syspath_prepend(str(cache))
        yield cache
