"""What the processes of ``test_torchrun`` run: all but one wait for the one that fails, or all end well."""

import os
import signal
from pathlib import Path
from typing import Any

from codiemb_pipeline.distributed import barrier, process_group, process_rank
from codiemb_pipeline.launch.work_dir import Claims


def work(config: dict[str, Any]) -> None:
    with process_group("gloo"):
        barrier()
        if process_rank() == config["fails"]:
            end(config["how"])
        barrier()
    for number in Claims(Path(config["folder"]) / "claims").take(6):
        (Path(config["folder"]) / f"{number}.done").touch()


def end(how: str) -> None:
    if how == "sigbus":
        os.kill(os.getpid(), signal.SIGBUS)
    if how == "silent":
        os._exit(3)
    raise ValueError("this one could not")
