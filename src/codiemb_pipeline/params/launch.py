"""Processes: how torchrun starts those of a training, and how many mine and evaluate work with."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from codiemb_pipeline.params.base import Section

MOST_PROCESSES = 1024
Processes = Annotated[int, Field(ge=1, le=MOST_PROCESSES)] | Literal["auto"]
"""How many a stage works with on this machine; ``auto``: one per GPU, or one where there is none. No result changes."""


def _port(endpoint: str) -> str:
    if not 1 <= int(endpoint.rpartition(":")[2]) <= 65535:
        raise ValueError("expected host:port, the port from 1 to 65535")
    return endpoint


class LaunchParams(Section):
    """The processes, as torchrun starts them.

    The stage runs on the first machine; the others run ``python -m codiemb_pipeline.join``. CODIEMB_RENDEZVOUS in the
    environment takes precedence over ``rendezvous_endpoint``: a scheduler knows the address when the job begins.
    """

    nproc_per_node: Processes
    nnodes: int = Field(ge=1, le=10_000)
    rendezvous_endpoint: Annotated[str, Field(pattern=r"^[^:\s]+:[0-9]{1,5}$"), AfterValidator(_port)] | None
    backend: Literal["gloo", "nccl"]
    threads: int | None = Field(ge=1, le=4096)
