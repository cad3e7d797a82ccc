"""Our encoder behind mteb's encoder protocol; weights are loaded on first use, and equal texts are encoded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType

from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.evaluate.leaderboard import name_for_mteb
from codiemb_pipeline.params.encoder import EncoderParams


class MtebEncoder(AbsEncoder):
    """A model of ours for mteb."""

    def __init__(
        self,
        name: str,
        folder: Path | None,
        params: EncoderParams,
        *,
        revision: str,
        tokens_per_chunk: int,
        bf16: bool = False,
    ) -> None:
        self._name, self._folder, self._params = name, folder, params
        self._how = {"tokens_per_chunk": tokens_per_chunk, "bf16": bf16}
        self._encoder: Encoder | None = None
        overwrites = {"name": name_for_mteb(name), "revision": revision, "loader": None}
        self.mteb_model_meta = ModelMeta.create_empty(overwrites=overwrites)

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded on first use."""
        if self._encoder is None:
            self._encoder = load_encoder(self._params, self._folder)
        return self._encoder

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **_: Any,
    ) -> np.ndarray:
        """Return the embeddings of all texts of a loader, float32 (n, D), with the benchmark's prompts."""
        texts = [text for batch in inputs for text in batch["text"]]
        prefix = self._prefix(task_metadata, prompt_type)
        label = f"{self._name} {task_metadata.name}"
        embeddings = encode_texts(self.encoder, texts, prefix=prefix, **self._how, progress=label)
        return embeddings.numpy()

    def _prefix(self, task_metadata: Any, prompt_type: PromptType | None) -> str:
        prompts = self.encoder.prompts
        if task_metadata.type == "STS":
            return prompts.prefix("sts", "query", task_metadata.name)
        role = "document" if prompt_type == PromptType.document else "query"
        return prompts.prefix("ir", role, task_metadata.name)
