"""Kills the pipeline at random moments, runs `dvc repro` again, compares all artefacts: `make chaos KILLS=50 SEED=1`.

A tiny project runs undisturbed once. Each kill starts in a fresh copy: `dvc repro`, then after a random time a signal
to dvc, kedro, torchrun, a worker or all processes of the run at once. Ten seconds later nothing may be left of it; then
one `dvc repro` must end with the same files. What tells the time is left out: speeds in the curves, and report.html.
The seed decides moment, target and signal.
"""

import csv
import hashlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import yaml

from codiemb_pipeline.dvc_lock import is_whole

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

PARTS = ("conf", "src", ".dvcignore", ".gitignore", ".telemetry", "dvc.yaml", "pyproject.toml")
MARK = "CHAOS_RUN"
"""Variable that all processes of a run inherit; by it they are found."""
TARGETS = {
    "dvc": "/dvc repro",
    "kedro": "/kedro run",
    "torchrun": "torch.distributed.run",
    "worker": "codiemb_pipeline.launch.worker",
    "group": "",
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
TIMED = {"tokens_per_second", "loader_share"}
LEFT_OUT = {"report.html"}
PATIENCE_S = 10.0
MISSED = "nothing, which had ended (not counted)"


def make_project(folder: Path) -> None:
    """Make a project that takes all seven stages in about a minute, on a tiny random encoder."""
    from tiny_encoder import make_tiny_encoder
    from tiny_run import tiny_params, write_sources

    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    make_tiny_encoder(folder / "data/01_raw/encoder")
    values = tiny_params(write_sources(folder / "data/01_raw/sources"), Path("data/01_raw/encoder"))
    for source in values["ingest"]["sources"].values():
        source["path"] = str(Path(source["path"]).relative_to(folder))
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=folder, check=True)


def repro(folder: Path, mark: str) -> subprocess.Popen:
    """Start `dvc repro`; its output goes to a file."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {MARK: mark, "PATH": path, "PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "repro.log").open("a") as log:
        return subprocess.Popen(["dvc", "repro"], cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log)


def processes(mark: str) -> dict[int, str]:
    """Return the command lines of all processes of a run, by process id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}\0".encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):  # it has ended, or is another's
            continue
    return {pid: line for pid, line in found.items() if line}  # a zombie has no command line


def strike(mark: str, target: str, number: int, running: subprocess.Popen) -> str:
    """Send a signal to the target, as soon as there is one; return what was hit."""
    while running.poll() is None:
        hit = [pid for pid, line in processes(mark).items() if TARGETS[target] in line]
        stages = [
            line.split("--pipelines=")[1].split()[0] for line in processes(mark).values() if "--pipelines=" in line
        ]
        if hit:
            for pid in hit if target == "group" else hit[-1:]:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            return stages[0] if stages else "between stages"
        time.sleep(0.05)
    return MISSED


def snapshot(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every artefact by path."""
    files = (path for part in sorted((folder / "data").glob("0[2-8]_*")) for path in part.rglob("*"))
    kept = (path for path in files if path.is_file() and path.name not in LEFT_OUT)
    return {str(path.relative_to(folder)): hashlib.sha256(content(path)).hexdigest() for path in kept}


def content(path: Path) -> bytes:
    """Return the bytes of a file, without the columns that tell the time."""
    if path.suffix != ".csv" or "training" not in path.parts:
        return path.read_bytes()
    with path.open(newline="") as opened:
        rows = [{key: value for key, value in row.items() if key not in TIMED} for row in csv.DictReader(opened)]
    return repr(rows).encode()


def left_after(mark: str, seconds: float) -> dict[int, str]:
    """Wait until no process of a run is left, ``seconds`` at most; return those that are."""
    deadline = time.monotonic() + seconds
    while (left := processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def kills(root: Path, count: int, seed: int, length: float, expected: dict[str, str]) -> Iterator[Counter]:
    """Yield for each kill what went wrong."""
    draw, hits = random.Random(seed), 0
    for number in itertools.count():
        if hits == count:
            return
        folder, mark = root / f"kill-{number}", f"{os.getpid()}-{seed}-{number}"
        moment, target, which = draw.uniform(0, length), draw.choice(list(TARGETS)), draw.choice(SIGNALS)
        shutil.copytree(root / "pristine", folder)
        running, faults = repro(folder, mark), Counter()
        time.sleep(moment)
        where = strike(mark, target, which, running)
        hits += where != MISSED
        if orphans := left_after(mark, PATIENCE_S):
            # What was hit may be part of a run that goes on: a stage that failed ends the run by itself.
            faults["orphans"] = len(orphans)
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
        running.wait()
        if not is_whole(folder / "dvc.lock"):
            faults["dvc.lock repaired"] = 1
            subprocess.run([sys.executable, "-m", "codiemb_pipeline.dvc_lock"], cwd=folder, check=True)
        code = repro(folder, f"{mark}-again").wait()
        found = snapshot(folder)
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        faults["failed"] += code != 0
        faults["different"] += len(different)
        said = ", ".join(f"{what}: {often}" for what, often in faults.items() if often) or "the same files"
        click.echo(f"{hits:3d}  {moment:5.1f} s  {which.name} to {target} in {where}: {said}")
        for name in different[:5]:
            click.echo(f"       differs: {name}")
        if code or different or orphans:
            click.echo(f"       kept: {folder}  {' | '.join(orphans.values())[:300]}")
        else:
            shutil.rmtree(folder)
        yield faults


@click.command()
@click.option("--kills", "count", default=50, show_default=True, help="How many.")
@click.option("--seed", default=1, show_default=True, help="Decides moments, targets and signals.")
@click.option("--folder", type=Path, help="Where projects are made and failures stay; else a temporary one.")
def main(count: int, seed: int, folder: Path | None) -> None:
    """Kill the pipeline at random moments and compare what the next run makes."""
    if folder is not None:
        folder.mkdir(parents=True)
    with TemporaryDirectory(prefix="chaos-") if folder is None else nullcontext(folder) as place:
        root = Path(place)
        make_project(root / "pristine")
        shutil.copytree(root / "pristine", root / "undisturbed")
        began = time.monotonic()
        if repro(root / "undisturbed", f"{os.getpid()}-{seed}").wait():
            sys.exit((root / "undisturbed/repro.log").read_text())
        length, expected = time.monotonic() - began, snapshot(root / "undisturbed")
        click.echo(f"undisturbed: {len(expected)} files in {length:.0f} s; seed {seed}")
        total = sum(kills(root, count, seed, length, expected), Counter())
        bad = {what: often for what, often in total.items() if often}
        click.echo(f"{count} kills: {bad or 'the same files every time, nothing left after 10 s'}")
        sys.exit(bool(bad.keys() - {"dvc.lock repaired"}))


if __name__ == "__main__":
    main()
