"""Encoder settings that differ from the tiny encoder's in named places, and a tiny decoder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_encoder import make_tiny_decoder

from codiemb_pipeline.params import EncoderParams


@pytest.fixture(scope="session")
def changed(tiny_encoder_params) -> Callable[..., EncoderParams]:
    """Return the tiny encoder's settings with some replaced; ``prompts`` is merged, not replaced."""

    def change(prompts: dict[str, Any] | None = None, **values: Any) -> EncoderParams:
        dump = tiny_encoder_params.model_dump()
        return EncoderParams.parse({**dump, **values, "prompts": {**dump["prompts"], **(prompts or {})}}, "encoder")

    return change


@pytest.fixture(scope="session")
def tiny_decoder_folder(tmp_path_factory) -> Path:
    return make_tiny_decoder(tmp_path_factory.mktemp("tiny-decoder"))


@pytest.fixture(scope="session")
def sentence_transformers() -> Callable[..., torch.Tensor]:
    """Return a function that encodes texts by sentence-transformers, from a folder."""

    def embed(folder: Path, texts: list[str], **options: Any) -> torch.Tensor:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=True)
        return model.encode(texts, convert_to_tensor=True, show_progress_bar=False, **options)

    return embed


@pytest.fixture(scope="module")
def own_code_cache(tmp_path_factory) -> Iterator[Path]:
    """Keep the copies that transformers makes of a model's code out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("modules")
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache))
        patch.syspath_prepend(str(cache))
        yield cache
