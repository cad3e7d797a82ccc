"""Several gloo processes give the gradients of one process on the joint batch, so a task's weight is no matter of W.

Without gathering, a list-wise loss is one of each process's own list: there one process that takes the lists one after
the other, as accumulated micro-batches, is the measure.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("worker.py")
SOURCE = Path(__file__).parents[2] / "src"
sys.path.insert(0, str(WORKER.parent))
import worker  # noqa: E402

CASES = [*worker.RETRIEVAL, *worker.SIMILARITY, "matryoshka-ir", "matryoshka-sts"]
LISTS = [name for name, loss in worker.STS_LOSSES.items() if loss.operands != "good pairs"]
LOCAL = [*LISTS, "ir", "ir-cosent", "ir-query-query"]
NAMES = [
    *CASES,
    *(f"{case}+cached" for case in CASES),
    *(f"{case}+{flags}" for case in ("ir", "sts", "mid_info_nce") for flags in ("accumulated", "accumulated+cached")),
    *(f"{case}+local" for case in LOCAL),
    *(f"{case}+local+cached" for case in ("ir", "pearson")),
    *(f"{case}+{flags}" for case in ("ir", "sts") for flags in ("sharded", "sharded+cached", "accumulated+sharded")),
    *(f"{case}+accumulated+sharded+cached" for case in ("ir", "sts")),
]


def run_workers(processes: int, out: Path, names: list[str]) -> dict[str, tuple[dict, list[float]]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    places = [SOURCE, WORKER.parent, WORKER.parents[1]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, places))}
    done = subprocess.run(
        [*command, str(WORKER), str(out), *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out)


def alone(name: str, processes: int) -> dict[str, torch.Tensor]:
    """Return the gradients of one process that works on all there is, without GradCache."""
    case, *flags = name.split("+")
    model = worker.TinyModel()
    parts = processes if "local" in flags else 1
    worker.update(case, (0, 1), model, micro_batches=2 if "accumulated" in flags else 1, parts=parts)
    return {key: parameter.grad for key, parameter in model.named_parameters()}


def assert_same(found: dict, expected: dict, name: str) -> None:
    for key, gradient in expected.items():
        expected_ = torch.zeros(()) if gradient is None else gradient
        found_ = torch.zeros(()) if found[key] is None else found[key]
        expected_, found_ = torch.broadcast_tensors(expected_.double(), found_.double())
        torch.testing.assert_close(
            found_, expected_, rtol=1e-6, atol=1e-9, msg=lambda text, key=key: f"{name}, {key}: {text}"
        )
    assert max(float(gradient.abs().max()) for gradient in expected.values() if gradient is not None) > 1e-4, name


@pytest.fixture(scope="module", params=[2, 4], ids=["2 processes", "4 processes"])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict]:
    """The gradients of all cases, from one start of the processes."""
    out = tmp_path_factory.mktemp("parity") / "gradients.pt"
    return request.param, run_workers(request.param, out, NAMES)


@pytest.mark.dist
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_those_of_one_process(name, together):
    processes, found = together
    assert_same(found[name][0], alone(name, processes), name)


@pytest.mark.parametrize("case", CASES)
def test_grad_cache_gives_the_same_gradients_in_one_process(case):
    model = worker.TinyModel()
    worker.update(case, (0, 1), model, cached=True)
    assert_same({key: parameter.grad for key, parameter in model.named_parameters()}, alone(case, 1), case)
