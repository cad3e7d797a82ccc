"""Several gloo processes give the gradients of one process on the joint batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("worker.py")
SOURCE = Path(__file__).parents[2] / "src"


def run_workers(task: str, processes: int, out: Path) -> dict[str, torch.Tensor]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{SOURCE}{os.pathsep}{WORKER.parent}"}
    done = subprocess.run(
        [*command, str(WORKER), task, str(out)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out)


@pytest.mark.dist
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("task", ["ir", "sts", "mid"])
def test_gradients_equal_one_process_on_the_joint_batch(task: str, processes: int, tmp_path: Path, monkeypatch):
    """With shared documents, false negatives across processes and uneven numbers of good pairs (5 and 1)."""
    monkeypatch.syspath_prepend(str(WORKER.parent))
    import worker

    alone = worker.TinyModel()
    worker.gradients(task, 1, 0, alone)
    together = run_workers(task, processes, tmp_path / "gradients.pt")
    for name, parameter in alone.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found = torch.zeros_like(parameter) if together[name] is None else together[name]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    assert max(float(p.grad.abs().max()) for p in alone.parameters() if p.grad is not None) > 1e-4
