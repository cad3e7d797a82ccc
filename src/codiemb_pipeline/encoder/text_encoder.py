"""Backbone, pooling, projection and normalisation as one module, and the encoder: that module with its tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from codiemb_pipeline.encoder.backbone import hidden_size, without_cache
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.tokens import TextTokenizer, TokenBatch
from codiemb_pipeline.params.encoder import EncoderParams, Pooling

# With cuDNN's attention, batches of many shapes ran at 0.22 of the speed on an H200 (docs/performance.md).
torch.backends.cuda.enable_cudnn_sdp(False)

MEANS: tuple[Pooling, ...] = ("mean", "weighted_mean")
"""The poolings that average tokens, and so can exclude those of the prompt."""


def pool(
    states: torch.Tensor, mask: torch.Tensor, pooling: Pooling, skipped: torch.Tensor | None = None
) -> torch.Tensor:
    """Return one vector per text.

    Args:
        states: token states, (n, T, D).
        mask: (n, T), 1 on tokens and 0 on padding, on either side.
        pooling: ``cls`` takes the first token, ``last`` the last, ``mean`` averages, ``weighted_mean`` averages with
            weights 1, 2, 3, ... (SGPT, arXiv 2202.08904: under causal attention later tokens have seen more).
        skipped: (n,), number of leading tokens that averages exclude; ``None`` for none. They still count as places:
            with 2 of them, the first weight is 3. The last token is always included.

    Returns:
        (n, D), float32 or wider.
    """
    states = states.float() if states.dtype in (torch.float16, torch.bfloat16) else states
    rows = torch.arange(len(states), device=states.device)
    first = mask.argmax(dim=1)
    if pooling == "cls":
        return states[rows, first]
    last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    if pooling == "last":
        return states[rows, last]
    positions, places = torch.arange(mask.shape[1], device=mask.device), mask.cumsum(dim=1)
    if skipped is not None:
        begin = torch.minimum(first + skipped, last)
        mask = mask * (positions >= begin.unsqueeze(1))
    if pooling == "weighted_mean":
        mask = places * mask
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


class TextEncoder(nn.Module):
    """Token ids to embeddings.

    Args:
        backbone: a Hugging Face model without a head.
        params: the ``encoder`` section.
        projection: a layer for pooled vectors, or ``None``. The released code projects token states. Every pooling is
            a weighted sum with weights that sum to one, so the order does not matter; projecting after pooling costs a
            T-th, and is what sentence-transformers' ``Dense`` does.
        count_positions: pass each token's position in its text, without padding, to the backbone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        params: EncoderParams,
        projection: nn.Linear | None = None,
        *,
        count_positions: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.projection = backbone, projection
        self._params, self._count_positions = params, count_positions
        self._options = without_cache(backbone)

    @property
    def layers(self) -> int:
        """Number of transformer layers."""
        return int(self.backbone.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of a full embedding, D."""
        return self.projection.out_features if self.projection is not None else hidden_size(self.backbone)

    @property
    def output_width(self) -> int:
        """Width of an embedding in use: ``dimensions``, or D."""
        return self._params.dimensions or self.width

    def token_states(self, batch: TokenBatch) -> torch.Tensor:
        """Return the last layer's token states, (n, T, hidden size)."""
        return self._run(batch).last_hidden_state

    def forward(
        self, chunks: Sequence[TokenBatch], mid_layer: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embed texts that come in chunks, at full width; see :meth:`output`.

        Args:
            chunks: batches of token ids; each is one pass through the backbone.
            mid_layer: hidden state to embed as well (0 is the input embeddings), or ``None``.

        Returns:
            Embeddings (n, D) of the n texts of all chunks in order, and those of ``mid_layer`` or ``None``. The middle
            layer has the mean where the pooling is ``weighted_mean``: MiniCPM-Embedding, the recipe's encoder with
            such weights, has them on its last states alone.
        """
        middle_pooling = "mean" if self._params.pooling == "weighted_mean" else self._params.pooling
        last, middle = [], []
        for chunk in chunks:
            output = self._run(chunk, output_hidden_states=mid_layer is not None)
            last.append(self._embed(output.last_hidden_state, chunk, self._params.pooling))
            if mid_layer is not None:
                middle.append(self._embed(output.hidden_states[mid_layer], chunk, middle_pooling))
        return torch.cat(last), torch.cat(middle) if middle else None

    def output(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Cut full embeddings (n, D) to ``dimensions`` (Matryoshka, arXiv 2205.13147) and normalise them again."""
        if self.output_width == embeddings.shape[1]:
            return embeddings
        cut = embeddings[:, : self.output_width]
        return normalize(cut, dim=-1) if self._params.normalize else cut

    def _run(self, batch: TokenBatch, **options: Any) -> Any:
        options |= self._options
        if self._count_positions:
            options["position_ids"] = batch.positions
        return self.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options)

    def _embed(self, states: torch.Tensor, chunk: TokenBatch, pooling: Pooling) -> torch.Tensor:
        skipped = None if self._params.prompts.in_pooling else chunk.prompt_lengths
        embeddings = pool(states, chunk.attention_mask, pooling, skipped)
        if self.projection is not None:
            with torch.autocast(embeddings.device.type, enabled=False):  # the loss wants float32, as without the layer
                embeddings = self.projection(embeddings)
        return normalize(embeddings, dim=-1) if self._params.normalize else embeddings


@dataclass(frozen=True)
class Encoder:
    """A text encoder with its tokenizer: all that leads from text to vector."""

    model: TextEncoder
    tokenizer: TextTokenizer

    @property
    def params(self) -> EncoderParams:
        """The ``encoder`` section it was loaded with."""
        return self.tokenizer.params

    @property
    def prompts(self) -> PromptBook:
        """The prompts it was loaded with."""
        return self.tokenizer.prompts

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.model.parameters()).device

    @property
    def pad_id(self) -> int:
        """Token id of padding."""
        return self.tokenizer.pad_id

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> tuple[list[list[int]], list[int]]:
        """Return token ids and prompt lengths of ``texts``; see :meth:`TextTokenizer.tokenize`."""
        return self.tokenizer.tokenize(texts, prefix)
