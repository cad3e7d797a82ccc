"""The launch files for clusters, as far as they can be checked without one."""

import subprocess
from pathlib import Path

import yaml

LAUNCH = Path(__file__).parents[2] / "conf" / "launch"


def parses(script: str) -> bool:
    return subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_slurm_file_is_a_script_that_runs_the_stages_once_and_joins_elsewhere():
    script = (LAUNCH / "slurm.sbatch").read_text()
    assert parses(script)
    assert not parses(script + "\nif"), "bash would not have told"
    commands = [line.strip() for line in script.splitlines() if not line.startswith("#")]
    assert sum("dvc repro" in line for line in commands) == 1
    assert any(line.startswith("python -m codiemb_pipeline.join") for line in commands)


def test_the_kubernetes_file_runs_the_stages_in_pod_0_and_joins_in_the_others():
    job = yaml.safe_load((LAUNCH / "trainjob.yaml").read_text())
    assert (job["kind"], job["spec"]["runtimeRef"]["name"]) == ("TrainJob", "torch-distributed")
    shell, flag, script = job["spec"]["trainer"]["command"]
    assert (shell, flag) == ("bash", "-euc")
    assert parses(script)
    stub = 'cd() { :; }; source() { :; }; dvc() { echo "dvc $*"; }; python() { echo "python $*"; };\n'
    body = stub + script.replace("exec ", "")
    for rank, expected in (("0", "dvc repro"), ("1", "python -m codiemb_pipeline.join --idle-minutes 60")):
        environment = {"PATH": "/usr/bin:/bin", "PET_NODE_RANK": rank, "PET_MASTER_ADDR": "head", "PET_NNODES": "2"}
        done = subprocess.run([shell, flag, body], env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[0] == expected, done.stderr
