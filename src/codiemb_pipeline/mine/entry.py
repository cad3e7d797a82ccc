"""What torchrun starts, once per process, where several mine: each encodes and searches its part."""

from codiemb_pipeline.launch.worker import die_with_parent

die_with_parent()  # before torch is imported, which takes seconds

from datetime import timedelta  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from codiemb_pipeline.distributed import process_group, take_own_gpu  # noqa: E402
from codiemb_pipeline.encoder.checkpoint import load_encoder  # noqa: E402
from codiemb_pipeline.launch.worker import run_worker  # noqa: E402
from codiemb_pipeline.mine.run import search_all  # noqa: E402
from codiemb_pipeline.params.encoder import EncoderParams  # noqa: E402
from codiemb_pipeline.params.mine import MineParams  # noqa: E402


def mine(config: dict[str, Any]) -> None:
    """Do this process's part of what ``mine.run`` resolved."""
    take_own_gpu()
    params = MineParams.parse(config["mine"], "mine")
    # The processes only wait for each other: vectors and keys go through files. A block may take long on a CPU.
    with process_group("gloo", timedelta(days=1)):
        encoder = load_encoder(EncoderParams.parse(config["encoder"], "encoder"))
        search_all(params, encoder, config["names"], Path(config["folder"]))


if __name__ == "__main__":
    run_worker(mine)
