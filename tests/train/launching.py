"""Real trainings of the tiny model input, in processes of their own: begun, watched, looked into."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tiny_run import train_in, training_places

from codiemb_pipeline.params import Params

SOURCE = Path(__file__).parents[2] / "src"


def train(values: dict, model_input: Path, folder: Path) -> Path:
    return train_in(folder, Params.parse(values, ""), model_input)


SCRIPT = """
import json, sys
from pathlib import Path
from codiemb_pipeline.params import Params
from codiemb_pipeline.train.run import train_encoder
values, model_input, work, checkpoints, curves = sys.argv[1:]
params = Params.parse(json.loads(values), "")
train_encoder(params.train, params.encoder, model_input=Path(model_input), work=Path(work),
              checkpoints=Path(checkpoints), curves=Path(curves), run="main")
"""


def start(values: dict, model_input: Path, folder: Path) -> subprocess.Popen:
    places = training_places(folder)
    arguments = [json.dumps(values), str(model_input), *map(str, places.values())]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], env=environment, stderr=subprocess.DEVNULL)


def train_cut_short(values: dict, model_input: Path, folder: Path) -> Path:
    """Begin a training and kill it once it has saved; return the folder its work in progress was left in."""
    process = start(values, model_input, folder)
    left = folder / "work" / "train"
    assert wait_for(lambda: list(left.glob("*/state/step-*")))
    process.kill()
    process.wait()
    assert wait_for(lambda: not workers(folder), 20), "processes outlived the one that was killed"
    return left


def wait_for(found, seconds: float = 90.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found():
            return True
        time.sleep(0.02)
    return False


def workers(folder: Path) -> list[int]:
    """Return the processes whose command line names the run's folder, torchrun and workers alike."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return -1


def changed(values: dict, **train_changes: object) -> dict:
    return {**values, "train": {**values["train"], **train_changes}}
