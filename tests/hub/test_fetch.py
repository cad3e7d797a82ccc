"""Whatever hub, connection and disk do: what is fetched is whole, or an error names id, revision, file and way out."""

import logging
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, Reply, alter, cut, gated, refuse, slow, truncate
from huggingface_hub import constants
from mini_benchmarks import MINI_SIZES, write_mini_benchmarks

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.hub import Repository

REVISION = "17f9b096f80380fce5ed12a9be8be7784b337daf"
CARD, TRAIN = b"a card", os.urandom(300_000)
DATA = {"README.md": CARD, "data/train-0.parquet": TRAIN, "data/test-0.parquet": b"test"}
LCQMC = Repository("C-MTEB/LCQMC", "dataset", REVISION)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing waits; how long it would have is noted."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def lcqmc(hub: Hub, pauses: list[float]) -> Hub:
    hub.serve("dataset", "C-MTEB/LCQMC", DATA, [REVISION])
    return hub


def fetch(repository: Repository = LCQMC) -> dict[str, bytes]:
    """Return the content of the files that the product takes for whole."""
    folder = repository.fetch(field="ingest.sources.lcqmc.path", by_hand="set it to a folder with the files")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(repository: Repository = LCQMC) -> str:
    """Return the error: a few lines that name id, revision and the way out."""
    with pytest.raises(InputError) as caught:
        fetch(repository)
    message = str(caught.value)
    assert message.startswith(f"params.yaml: ingest.sources.lcqmc.path: {repository.type} {repository.hub_id} at ")
    assert repository.revision in message
    assert "make bundle" in message
    assert "set it to a folder with the files" in message
    assert len(message.splitlines()) <= 4
    return message


def test_a_snapshot_is_fetched_once_and_then_found(lcqmc):
    assert fetch() == DATA
    lcqmc.mend()
    assert fetch() == DATA
    assert lcqmc.requests == []


def test_only_the_files_asked_for_are_fetched(lcqmc):
    some = Repository("C-MTEB/LCQMC", "dataset", REVISION, allow=("data/*",), ignore=("*/test*",))
    assert not some.is_cached()
    assert fetch(some) == {"data/train-0.parquet": TRAIN}
    assert some.is_cached()
    assert not LCQMC.is_cached()
    assert fetch() == DATA


def test_the_head_of_main_is_a_commit(lcqmc):
    head = Repository("C-MTEB/LCQMC", "dataset", None)
    assert head.fetch(field="f", by_hand="b").name == REVISION


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_ends_in_a_file_is_taken_up_again(lcqmc, reset):
    lcqmc.fault("GET /lfs", cut(after=100_000, reset=reset), times=1)
    assert fetch() == DATA


def test_what_came_before_a_connection_ended_is_not_fetched_again(lcqmc, monkeypatch):
    """The client writes, and goes on, in pieces of 10 MB."""
    content = os.urandom(25_000_000)
    lcqmc.serve("dataset", "C-MTEB/LCQMC", {"data/train-0.parquet": content}, [REVISION])
    lcqmc.fault("GET /lfs", cut(after=21_000_000), times=2)
    some = Repository("C-MTEB/LCQMC", "dataset", REVISION, allow=("data/train*",))
    assert fetch(some) == {"data/train-0.parquet": content}
    assert [asked.headers["Range"] for asked in lcqmc.asked("GET /lfs")] == [None, "bytes=20971520-"]


def test_a_connection_that_always_ends_is_an_error(lcqmc):
    lcqmc.fault("GET /lfs", cut(after=1000))
    message = refusal()
    assert "data/train-0.parquet" in message
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))
    lcqmc.mend()
    assert fetch() == DATA


@pytest.mark.parametrize(
    ("repository", "facts"),
    [
        (Repository("C-MTEB/LCQMK", "dataset", REVISION), ["401", "hf auth login", "HF_TOKEN"]),
        (Repository("C-MTEB/LCQMC", "dataset", "0" * 40), ["404", "/datasets/C-MTEB/LCQMC/commits/main"]),
        (
            Repository("C-MTEB/LCQMC", "dataset", REVISION, allow=("data/dev-*",)),
            ["data/dev-*", "data/train-0.parquet"],
        ),
        (Repository("C-MTEB/LCQMC", "model", REVISION), ["no such model"]),
        (Repository("C-MTEB/LC QMC", "dataset", REVISION), ["Repo id"]),
    ],
)
def test_what_the_hub_does_not_have_is_said_at_once(lcqmc, pauses, repository, facts):
    message = refusal(repository)
    assert [fact for fact in facts if fact not in message] == []
    assert pauses == []


def test_a_file_that_is_listed_and_not_there_is_named(lcqmc):
    lcqmc.fault(".*/resolve/.*test-0", refuse(404, "EntryNotFound", "Entry not found"))
    assert "data/test-0.parquet" in refusal()


@pytest.mark.parametrize("where", [".*", ".*/resolve/"])
def test_a_gated_repository_says_to_log_in_and_to_accept_its_terms(lcqmc, where, monkeypatch):
    lcqmc.fault(where, gated)
    message = refusal()
    facts = ["401", "hf auth login", "HF_TOKEN", f"{lcqmc.endpoint}/datasets/C-MTEB/LCQMC"]
    assert [fact for fact in facts if fact not in message] == []
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_user_who_accepted")
    lcqmc.mend()
    assert fetch() == DATA
    assert not any(asked.headers["Authorization"] for asked in lcqmc.asked("GET /lfs")), "no token leaves the hub"


def test_terms_that_the_user_has_not_accepted_and_a_token_that_is_wrong_are_told_apart(lcqmc, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    lcqmc.fault(".*", refuse(403, "GatedRepo", "you are not in the authorized list"), times=1)
    assert "accept them on" in refusal()
    lcqmc.fault(".*", refuse(401, "", "Invalid credentials in Authorization header"))
    message = refusal()
    assert "the token" in message
    assert "accept" not in message


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("where", ["GET /api/", "HEAD .*train", "GET /lfs/"])
def test_a_hub_that_is_busy_is_asked_again_after_a_while(lcqmc, pauses, status, where):
    lcqmc.fault(where, refuse(status, Retry_After="30"), times=3)
    assert fetch() == DATA
    assert sum(pauses) > 0
    if status == 429:
        assert 31 in pauses, "the client waits as long as the hub says"


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_stays_busy_is_named_with_its_answer(lcqmc, pauses, status):
    lcqmc.fault("GET /lfs/", refuse(status))
    message = refusal()
    assert f"({status})" in message
    assert "data/train-0.parquet" in message
    assert sum(pauses) >= 25
    assert fetch(Repository("C-MTEB/LCQMC", "dataset", REVISION, allow=("README.md",))) == {"README.md": CARD}


@pytest.mark.parametrize("fault", [truncate, alter], ids=["truncated", "altered"])
@pytest.mark.parametrize("file", ["README.md", "data/train-0.parquet"])
def test_a_file_that_is_not_the_hub_s_is_never_taken_for_it(lcqmc, fault, file):
    lcqmc.serve("dataset", "C-MTEB/LCQMC", {"data/test-0.parquet": b""}, [REVISION])
    where = "GET /lfs/" if file.endswith("parquet") else f"GET .*/resolve/.*{file}"

    def of_train(request: Any, reply: Reply) -> Reply:
        return fault(request, reply) if reply.body else reply

    lcqmc.fault(where, of_train)
    message = refusal()
    assert file in message
    assert not LCQMC.is_cached()
    lcqmc.mend()
    lcqmc.fault(where, of_train, times=1)
    assert fetch() == {**DATA, "data/test-0.parquet": b""}


@pytest.mark.parametrize("file", ["README.md", "data/train-0.parquet"])
def test_a_file_that_changed_in_the_cache_is_fetched_again(lcqmc, file, caplog, monkeypatch):
    folder = LCQMC.fetch(field="f", by_hand="b")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with caplog.at_level(logging.WARNING):
        assert fetch() == DATA
    assert file in caplog.text
    (folder / file).write_bytes(content[:-1])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refusal()
    assert f"{file}: expected {len(content)} bytes, found {len(content) - 1}" in message


def test_a_file_is_read_for_its_hash_once(lcqmc, monkeypatch):
    fetch()
    read: list[Path] = []
    monkeypatch.setattr("codiemb_pipeline.locations.file_sha256", lambda path: read.append(path) or "")
    fetch()
    assert read == []


def test_where_nothing_can_be_remembered_files_are_read_each_time(lcqmc, monkeypatch):
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", "/dev/null/none")
    assert fetch() == DATA
    assert fetch() == DATA


def test_a_full_disk_is_named_and_leaves_no_part_of_a_file(lcqmc, monkeypatch, pauses):
    """Linux has a file that is full."""
    right = Path.open

    def opened(path: Path, *mode: Any, **more: Any) -> Any:
        full = path.name.endswith(".incomplete") and "w" in mode[0]
        return open("/dev/full", "wb", buffering=0) if full else right(path, *mode, **more)

    monkeypatch.setattr(Path, "open", opened)
    message = refusal()
    assert constants.HF_HUB_CACHE in message
    assert "HF_HOME" in message
    assert "data/train-0.parquet" in message
    assert pauses == []


def test_a_slow_hub_is_waited_for_with_a_bar(hub, tmp_path):
    hub.serve("dataset", "C-MTEB/LCQMC", DATA, [REVISION])
    hub.fault("GET /lfs", slow(0.5))
    shown = on_a_terminal(FETCH, {**os.environ, **hub.environment(tmp_path / "home")})
    assert "3/3" in shown
    assert "300kB" in shown


FETCH = f"""
from codiemb_pipeline.hub import Repository
Repository("C-MTEB/LCQMC", "dataset", "{REVISION}").fetch(field="f", by_hand="b")
"""


def on_a_terminal(code: str, environment: dict[str, str]) -> str:
    """Run code in a process whose standard error is a terminal, and return what it shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how a terminal says that nobody writes any more
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_offline_what_the_cache_has_is_found(lcqmc, offline):
    fetch()
    lcqmc.mend()
    offline()
    assert fetch() == DATA
    assert lcqmc.requests == []


def test_offline_an_empty_cache_is_named(lcqmc, offline, pauses):
    offline()
    message = refusal()
    assert "HF_HUB_OFFLINE" in message
    assert constants.HF_HUB_CACHE in message
    assert lcqmc.requests == []
    assert pauses == []


def test_offline_a_part_is_not_taken_for_the_whole(lcqmc, offline):
    fetch(Repository("C-MTEB/LCQMC", "dataset", REVISION, allow=("data/train*",)))
    offline()
    message = refusal()
    assert "HF_HUB_OFFLINE" in message
    assert "README.md, data/test-0.parquet" in message
    assert "train" not in message


def test_offline_a_cache_without_a_list_of_its_files_is_not_trusted(lcqmc, offline, monkeypatch):
    """Older clients keep none, so that nothing tells half a snapshot from a whole one."""
    folder = LCQMC.fetch(field="f", by_hand="b")
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    (folder.parents[1] / "trees" / f"{REVISION}.json").unlink()
    offline()
    assert str(folder) in refusal()


def test_a_hub_that_does_not_answer_is_named(tmp_path, monkeypatch, pauses):
    with Hub() as hub:
        hub.use_in(tmp_path, monkeypatch)
    message = refusal()
    assert hub.endpoint in message
    assert "HF_ENDPOINT" in message


def test_the_server_speaks_what_datasets_asks(hub, tmp_path):
    """Benchmarks come through snapshots; whoever calls ``datasets`` by himself is answered as well."""
    spec = BENCHMARKS["T2Retrieval"]
    hub.serve("dataset", spec.hub_id, write_mini_benchmarks(tmp_path, ["T2Retrieval"])["T2Retrieval"], [spec.revision])
    code = f"""
from datasets import load_dataset
from huggingface_hub import HfApi
place = {{"revision": {spec.revision!r}}}
print(len(load_dataset({spec.hub_id!r}, "corpus", split="dev", **place)))
print(HfApi().dataset_info({spec.hub_id!r}, revision="main").sha)
print(HfApi().get_paths_info({spec.hub_id!r}, "README.md", repo_type="dataset", **place)[0].path)
"""
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [str(MINI_SIZES["retrieval"]["documents"]), spec.revision, "README.md"]
