"""Metrics of training: means over the steps since the last log row. Tensors are read back only when a row is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from codiemb_pipeline.distributed import total, world_size
from codiemb_pipeline.errors import PipelineError

DIVERGED = (
    "{what}; lower train.learning_rate, or look for extreme values in the data. The next run resumes "
    "from the last checkpoint"
)


@dataclass
class Meter:
    """Sums over the steps of one task since the last row. ``names``, the loss parts, are the same on every process.

    In a mixed plan, processes work on different tasks in one step, so a process may have no batch of a task.
    """

    names: Sequence[str]
    steps: int = 0
    micro_batches: int = 0
    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    tokens: int = 0
    padded: int = 0
    seconds: float = 0.0
    loader_seconds: float = 0.0

    def add_losses(self, parts: Mapping[str, torch.Tensor]) -> None:
        """Add the losses of one micro-batch."""
        self.micro_batches += 1
        for name, value in parts.items():
            self.losses[name] = self.losses[name] + value if name in self.losses else value

    def row(self, device: torch.device) -> dict[str, float] | None:
        """Return the means over all processes and the steps since the last row, and reset. Every process must call it.

        Returns:
            Losses by name; ``tokens_per_second`` of all processes, ``padding`` as a share of padded tokens,
            ``loader_share`` as a share of the time. ``None`` if no process had a micro-batch of the task.
        """
        sums = [self.losses[name].double() for name in self.names] if self.micro_batches else []
        own = torch.stack(sums) if sums else torch.zeros(len(self.names), dtype=torch.float64, device=device)
        times = (self.micro_batches, self.tokens, self.padded, self.seconds, self.loader_seconds)
        counts = torch.tensor(times, dtype=own.dtype, device=device)
        sums_of_all = total(torch.cat([own, counts])).tolist()
        micro_batches, tokens, padded, seconds, loading = sums_of_all[len(self.names) :]
        self.__init__(self.names)
        if not micro_batches:
            return None
        means = (value / micro_batches for value in sums_of_all[: len(self.names)])
        return {
            **dict(zip(self.names, means, strict=True)),
            "tokens_per_second": tokens * world_size() / max(seconds, 1e-9),
            "padding": 1 - tokens / padded,
            "loader_share": loading / max(seconds, 1e-9),
        }


def check_finite(row: Mapping[str, float], *, step: int, task: str) -> None:
    """Raise ``PipelineError`` if a training has diverged.

    Raises:
        PipelineError: a value is not finite. The message names the step, the task and the part.
    """
    for name, value in row.items():
        if not math.isfinite(value):
            raise PipelineError(DIVERGED.format(what=f"step {step}, task {task}: {name} is {value}"))
