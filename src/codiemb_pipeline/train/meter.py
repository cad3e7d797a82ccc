"""Means of what the steps of a task told since the last log line. Reads tensors back only when asked for a row.

Knows nothing of where the row goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from codiemb_pipeline.distributed import total, world_size
from codiemb_pipeline.errors import PipelineError


@dataclass
class Meter:
    """Sums over the steps of one task since the last row."""

    steps: int = 0
    micro_batches: int = 0
    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    tokens: int = 0
    padded: int = 0
    seconds: float = 0.0
    loader_seconds: float = 0.0

    def add_losses(self, loss: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> None:
        """Take in one micro-batch."""
        self.micro_batches += 1
        for name, value in {"loss": loss.detach(), **parts}.items():
            self.losses[name] = self.losses[name] + value if name in self.losses else value

    def row(self, *, step: int, task: str) -> dict[str, float]:
        """Return the means over all processes and the steps since the last row, and begin anew.

        Returns:
            Losses by name; ``tokens_per_second`` of all processes, ``padding`` as a share of padded tokens,
            ``loader_share`` as a share of the time.

        Raises:
            PipelineError: a loss is not finite; names the step, the task and the part.
        """
        names = sorted(self.losses)
        own = torch.stack([self.losses[name].float() for name in names]) / self.micro_batches
        counts = torch.tensor([float(self.tokens), float(self.padded)], device=own.device)
        means, (tokens, padded) = (total(own) / world_size()).tolist(), total(counts).tolist()
        for name, value in zip(names, means, strict=True):
            if value != value or abs(value) == float("inf"):
                raise PipelineError(
                    f"step {step}, task {task}: {name} is {value}; lower train.learning_rate, or look for extreme "
                    f"values in the data. The last checkpoint is whole."
                )
        row = {
            **dict(zip(names, means, strict=True)),
            "tokens_per_second": tokens / max(self.seconds, 1e-9),
            "padding": 1 - tokens / padded,
            "loader_share": self.loader_seconds / max(self.seconds, 1e-9),
        }
        self.__init__()
        return row
