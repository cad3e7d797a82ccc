"""Processes: how torchrun starts those of a training, and how many mine and evaluate work with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codiemb_pipeline.params.base import Section

Processes = Annotated[int, Field(ge=1)] | Literal["auto"]
"""How many a stage works with on this machine; ``auto``: one per GPU, or one where there is none. No result changes."""


class LaunchParams(Section):
    """The processes, as torchrun starts them.

    Attributes:
        nproc_per_node: processes on each machine; ``auto`` for one per GPU (``nccl``) or per core (``gloo``).
        nnodes: machines; the stage runs on the first, the others run ``python -m codiemb_pipeline.join``.
        rendezvous_endpoint: ``host:port`` of the first machine, which all reach; ``null`` for one machine, or where the
            environment says it (CODIEMB_RENDEZVOUS, which comes first: a scheduler knows it when the job begins).
        backend: ``gloo`` (CPU) or ``nccl`` (GPU).
        threads: CPU threads per process; ``null`` shares the cores out.
    """

    nproc_per_node: Annotated[int, Field(ge=1)] | Literal["auto"]
    nnodes: int = Field(ge=1)
    rendezvous_endpoint: Annotated[str, Field(pattern=r"^[^:\s]+:\d+$")] | None
    backend: Literal["gloo", "nccl"]
    threads: int | None = Field(ge=1)
