"""Processes: how torchrun starts those of a training, and how many mine and evaluate work with."""

from typing import Annotated, Literal

from pydantic import Field

from codiemb_pipeline.params.base import Section

Processes = Annotated[int, Field(ge=1)] | Literal["auto"]
"""How many a stage works with on this machine; ``auto``: one per GPU, or one where there is none. No result changes."""


class LaunchParams(Section):
    """The processes, as torchrun starts them.

    The stage runs on the first machine; the others run ``python -m codiemb_pipeline.join``. CODIEMB_RENDEZVOUS in the
    environment takes precedence over ``rendezvous_endpoint``: a scheduler knows the address when the job begins.
    """

    nproc_per_node: Annotated[int, Field(ge=1)] | Literal["auto"]
    nnodes: int = Field(ge=1)
    rendezvous_endpoint: Annotated[str, Field(pattern=r"^[^:\s]+:\d+$")] | None
    backend: Literal["gloo", "nccl"]
    threads: int | None = Field(ge=1)
