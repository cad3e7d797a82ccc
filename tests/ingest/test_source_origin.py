"""Where registered sources come from: repositories at a revision, checked and recorded, or a message what to do."""

import re
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from huggingface_hub import constants
from local_github import commit_all, use_local_github
from source_files import (
    DUREADER,
    counts,
    ingest,
    pairs_source,
    registered_source,
    run_registered,
    table,
    write_cmedqa2,
    write_cmteb,
    write_gzip,
    write_lines,
    write_mmarco,
    write_multi_cpr,
    write_t2ranking,
)

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES, Pairs, Tables
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params.ingest import IngestParams, RegisteredName

ON_GITHUB = ["cmedqa2", "multi_cpr_ecom", "multi_cpr_medical", "multi_cpr_video", "qbqtc"]
COMMIT = "c0ffee" * 6 + "c0ff"


class Hub:
    """Gives the folders in it by id, under the name of the commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[Repository] = []

    def give(self, repository: Repository, field: str, by_hand: str) -> Path:
        self.asked.append(repository)
        if not (self.folder / repository.hub_id).exists():
            raise InputError(f"params.yaml: {field}: no network here; {by_hand}")
        commit = COMMIT if repository.revision == "main" else repository.revision
        snapshot = self.folder / "snapshots" / repository.hub_id / commit
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        if not snapshot.exists():
            snapshot.symlink_to(self.folder / repository.hub_id)
        return snapshot


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(Repository, "fetch", lambda self, field, by_hand: hub.give(self, field, by_hand))  # noqa: PLW0108
    return hub


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_local_github(tmp_path / "github", tmp_path / "cache", monkeypatch)
    return tmp_path / "github"


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch):
    """Give the registry other facts of a source's origin or layout."""

    def change(name: str, *, layout: dict[str, Any] | None = None, **origin: Any) -> None:
        declared = TRAINING_SOURCES[name]
        first, *others = declared.origins
        changes: dict[str, Any] = {"origins": (first.model_copy(update=origin), *others)}
        if layout:
            changes["layout"] = declared.layout.model_copy(update=layout)
        monkeypatch.setitem(TRAINING_SOURCES, name, declared.model_copy(update=changes))

    return change


def without_rows(name: str) -> dict[str, Any]:
    """Return the layout of a source with no number of rows, for files in miniature."""
    layout = TRAINING_SOURCES[name].layout
    if isinstance(layout, Tables):
        tables = {key: getattr(layout, key) for key in ("corpus", "queries", "relevant", "negative", "grades")}
        return {key: value and value.model_copy(update={"rows": None}) for key, value in tables.items()}
    return {"rows": None} | ({"dev_rows": None} if isinstance(layout, Pairs) else {})


def message_of(tmp_path: Path, name: str, path: Path | None = None, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "out", registered_source(name, path, **changes))
    return str(caught.value)


def fetched(tmp_path: Path, name: str, **changes: Any) -> Path:
    return ingest(tmp_path / "out", registered_source(name, None, **changes))


def test_params_and_registry_name_the_same_sources():
    assert list(get_args(RegisteredName)) == list(TRAINING_SOURCES)


def test_every_source_is_declared_whole():
    rows = 0
    for name, declared in TRAINING_SOURCES.items():
        assert {origin.host for origin in declared.origins} == {"github" if name in ON_GITHUB else "hub"}
        assert declared.instruction, name
        assert declared.examples > 0, name
        assert declared.examples_from, name
        for origin in declared.origins:
            assert re.fullmatch(r"[0-9a-f]{40}", origin.revision), name
            assert origin.licence, name
            assert all(size > 0 for size in origin.files.values()), name
            assert origin.sha256.keys() <= origin.files.keys(), name
            assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in origin.sha256.values()), name
            assert origin.host == "hub" or not any("*" in file for file in origin.files), name
        if isinstance(declared.layout, Pairs):
            low, high = declared.layout.score_range
            assert low < high, name
            assert declared.layout.rows == declared.examples, name
        else:
            layout = declared.layout
            first = layout.corpus if isinstance(layout, Tables) else layout
            rows += first.rows is not None
    assert rows == 6, "all but the corpus of Multi-CPR's videos"


def test_what_may_not_be_used_commercially_says_so():
    limited = {
        name
        for name, declared in TRAINING_SOURCES.items()
        if any("non-commercial" in origin.licence for origin in declared.origins)
    }
    assert limited == {"dureader", "mmarco_zh", "cmedqa2", "cmnli", "ocnli"}


@pytest.mark.parametrize("name", [name for name in TRAINING_SOURCES if name not in ON_GITHUB])
def test_a_source_is_asked_of_the_hub_at_its_revision(tmp_path, name, hub):
    message = message_of(tmp_path, name)
    origin = TRAINING_SOURCES[name].origins[0]
    assert message.startswith("params.yaml: ingest.sources.mine.path: no network here; put its files into a folder")
    assert hub.asked == [Repository(origin.id, "dataset", origin.revision, allow=tuple(origin.files))]


def test_what_the_hub_gives_is_read_and_its_commit_recorded(tmp_path, hub, declare):
    write_cmteb(hub.folder / "C-MTEB/AFQMC", [("a", "b", 1), ("c", "d", 0)])
    declare("afqmc", layout=without_rows("afqmc"))
    found = counts(fetched(tmp_path, "afqmc"))
    assert found["splits"] == {"train": 2, "dev": 0, "test": 0}
    revision = TRAINING_SOURCES["afqmc"].origins[0].revision
    assert found["origins"] == [{"repository": "C-MTEB/AFQMC", "revision": revision, "licence": "none stated"}]


def test_the_revision_of_the_params_is_read_and_a_branch_recorded_as_its_commit(tmp_path, hub):
    write_cmteb(hub.folder / "C-MTEB/AFQMC", [("a", "b", 1), ("c", "d", 0)])
    found = counts(fetched(tmp_path, "afqmc", revision="main"))
    assert [asked.revision for asked in hub.asked] == ["main"]
    assert found["origins"][0]["revision"] == COMMIT


def test_a_source_of_two_repositories_is_read_from_both(tmp_path, hub, declare):
    write_mmarco(tmp_path / "m")
    texts, scores = (origin.id for origin in TRAINING_SOURCES["mmarco_zh"].origins)
    for file, place in (("collection", "collections"), ("queries.train", "queries/train")):
        target = hub.folder / texts / "data/google" / place / f"chinese_{file}.tsv"
        target.parent.mkdir(parents=True)
        (tmp_path / f"m/chinese_{file}.tsv").rename(target)
    (hub.folder / scores).parent.mkdir(parents=True)
    (tmp_path / "m").rename(hub.folder / scores)
    out = fetched(tmp_path, "mmarco_zh", revision={texts: "main", scores: "f" * 40})
    assert [(asked.hub_id, asked.revision) for asked in hub.asked] == [(texts, "main"), (scores, "f" * 40)]
    assert [(origin["repository"], origin["revision"]) for origin in counts(out)["origins"]] == [
        (texts, COMMIT),
        (scores, "f" * 40),
    ]
    assert [row[0] for row in table(out, "queries")] == ["11", "12"]


@pytest.mark.parametrize(
    ("name", "revision", "named"),
    [
        ("mmarco_zh", "main", "one for each of unicamp-dl/mmarco, hotchpotch/mmarco-hard-negatives-reranker-score"),
        ("afqmc", {"C-MTEB/AFQM": "main"}, "no repository 'C-MTEB/AFQM' of 'afqmc' (did you mean 'C-MTEB/AFQMC'?)"),
    ],
)
def test_a_revision_of_no_repository_is_an_error(tmp_path, name, revision, named, hub):
    message = message_of(tmp_path, name, revision=revision)
    assert message.startswith("params.yaml: ingest.sources.mine.revision: ")
    assert named in message
    assert hub.asked == []


def test_a_path_may_say_which_commit_it_is_a_copy_of(tmp_path):
    folder = write_cmteb(tmp_path / "afqmc", [("a", "b", 1), ("c", "d", 0)])
    assert counts(run_registered(tmp_path, "afqmc", folder))["origins"][0]["revision"] is None
    assert counts(run_registered(tmp_path, "afqmc", folder, revision=COMMIT))["origins"][0]["revision"] == COMMIT
    path = write_lines(tmp_path / "x.jsonl", [{"left": "a", "right": "b", "gold": 1}])
    assert "origins" not in counts(ingest(tmp_path / "other", pairs_source(path))), "not registered"


def write_on_github(name: str, github: Path) -> Path:
    """Write a source in miniature where it lies in its repository, and return the repository, not yet committed."""
    repository = github / TRAINING_SOURCES[name].origins[0].id
    if name == "cmedqa2":
        return write_cmedqa2(repository)
    if name == "qbqtc":
        row = {"query": "q", "title": "t", "label": "1"}
        for file in ("train", "dev"):
            write_lines(repository / f"dataset/{file}.json", [row | {"query": file}])
        return repository
    parts = [f"corpus_split_{part}.tsv" for part in range(1, 5)] if name == "multi_cpr_medical" else ["corpus.tsv"]
    corpus = dict.fromkeys(parts[:-1], b"") | {parts[-1]: "10\t壳\n30\t裙\n".encode()}
    if len(parts) > 1:  # the first byte of the rows in the first part, and so on
        whole = corpus[parts[-1]]
        corpus = {part: whole[n : n + 1 if n < 3 else None] for n, part in enumerate(parts)}
    write_multi_cpr(repository / "data" / name.removeprefix("multi_cpr_"), corpus)
    return repository


@pytest.mark.parametrize("name", ON_GITHUB)
def test_a_source_on_github_is_read_at_its_commit_and_from_the_cache_afterwards(tmp_path, name, github, declare, hub):
    repository = write_on_github(name, github)
    write_lines(repository / "data/large.bin", ["not asked for"])
    commit = commit_all(repository)
    for file in TRAINING_SOURCES[name].origins[0].files:
        (repository / file).write_text("changed afterwards")
    commit_all(repository)
    declare(name, layout=without_rows(name), revision=commit, sha256={})
    out = fetched(tmp_path, name)
    assert sum(counts(out)["splits"].values()) > 0
    origin = TRAINING_SOURCES[name].origins[0]
    assert counts(out)["origins"][0] == {
        "repository": f"github.com/{origin.id}",
        "revision": commit,
        "licence": origin.licence,
    }
    cache = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(path.as_posix().partition(f"/{commit}/")[2] for path in cache) == sorted(origin.files)
    repository.rename(tmp_path / "gone")
    assert counts(fetched(tmp_path, name)) == counts(out)
    assert hub.asked == []


def test_a_branch_on_github_is_recorded_as_its_commit(tmp_path, github):
    repository = write_on_github("qbqtc", github)
    commits = []
    for title in ("one", "two"):
        write_lines(repository / "dataset/dev.json", [{"query": title, "title": "t", "label": "0"}])
        commits.append(commit_all(repository))
        found = fetched(tmp_path, "qbqtc", revision="main")
        assert counts(found)["origins"][0]["revision"] == commits[-1]
        assert table(found, "pairs")[-1][1] == title
    assert commits[0] != commits[1]


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("no repository", "git fetch: fatal: "),
        ("no commit", "git fetch: fatal: "),
        ("no file", "git cat-file: fatal: path 'train_candidates.zip' "),
        ("offline", "not in the cache, and HF_HUB_OFFLINE is set"),
        ("no git", "git init: "),
    ],
)
def test_a_fetch_that_fails_says_so_and_leaves_no_half_of_a_file(tmp_path, fault, named, github, declare, monkeypatch):
    repository = write_on_github("cmedqa2", github)
    if fault == "no file":
        (repository / "train_candidates.zip").unlink()
    commit = commit_all(repository)
    declare("cmedqa2", revision="0" * 40 if fault == "no commit" else commit)
    if fault == "no repository":
        repository.rename(tmp_path / "elsewhere")
    elif fault == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif fault == "no git":
        monkeypatch.setenv("PATH", "")
    message = message_of(tmp_path, "cmedqa2")
    revision = TRAINING_SOURCES["cmedqa2"].origins[0].revision
    start = f"params.yaml: ingest.sources.mine.path: GitHub did not give zhangsheng93/cMedQA2 at {revision}: {named}"
    assert message.startswith(start)
    assert "put its files into a folder and set path to it" in message
    assert len(message.splitlines()) == 1
    left = {path.name: path for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert left.keys() == ({"question.zip", "answer.zip"} if fault == "no file" else set())
    assert all(path.read_bytes() == (repository / name).read_bytes() for name, path in left.items())


def test_a_file_that_breaks_off_is_fetched_again(tmp_path, github, declare, monkeypatch):
    from codiemb_pipeline.ingest import github as fetching

    declare(
        "cmedqa2", layout=without_rows("cmedqa2"), revision=commit_all(write_on_github("cmedqa2", github)), sha256={}
    )
    whole = fetching.run_git

    def cut(*arguments: str, output: Any = None, **options: Any) -> str:
        if output is None:
            return whole(*arguments, **options)
        output.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "run_git", cut)
    with pytest.raises(KeyboardInterrupt):
        fetched(tmp_path, "cmedqa2")
    monkeypatch.setattr(fetching, "run_git", whole)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert counts(fetched(tmp_path, "cmedqa2"))["judgements"] == 2


@pytest.mark.parametrize("host", ["hub", "github"])
def test_a_file_that_is_not_the_registered_one_is_named_with_what_to_delete(tmp_path, host, hub, github, declare):
    if host == "hub":
        name, file = "t2ranking", "data/queries.train.tsv"
        write_t2ranking(hub.folder / "THUIR/T2Ranking/data")
        digest = TRAINING_SOURCES[name].origins[0].sha256[file]
        declare(name, sha256={file: digest})
        place = hub.folder / "THUIR/T2Ranking" / file
        at = "THUIR/T2Ranking@2a369a43"
    else:
        name, file = "cmedqa2", "answer.zip"
        commit = commit_all(write_on_github(name, github))
        digest = TRAINING_SOURCES[name].origins[0].sha256[file]
        declare(name, revision=commit, sha256={file: digest})
        place = tmp_path / "cache/codiemb-pipeline/zhangsheng93--cMedQA2" / commit / file
        at = f"github.com/zhangsheng93/cMedQA2@{commit[:8]}"
    message = message_of(tmp_path, name)
    assert message.startswith(f"source 'mine': {at}/{file}: expected SHA-256 {digest[:16]}..., found ")
    assert message.endswith(f"delete {place} to fetch it again")


def test_files_of_another_revision_are_not_compared_with_the_registered_ones(tmp_path, hub):
    write_t2ranking(hub.folder / "THUIR/T2Ranking/data")
    assert counts(fetched(tmp_path, "t2ranking", revision="main"))["judgements"] == 3


PAIRS_100 = [(f"left {number}", f"right {number}", number % 2) for number in range(100)]


@pytest.mark.parametrize(("rows", "enough"), [(98, False), (99, True)])
def test_below_99_percent_of_the_registered_rows_ingest_stops(tmp_path, rows, enough, hub, declare):
    write_cmteb(hub.folder / "C-MTEB/AFQMC", PAIRS_100[:rows])
    declare("afqmc", layout={"rows": 100})
    if enough:
        assert counts(fetched(tmp_path, "afqmc", limit=10))["rows"] == 99, "a limit cuts what was read, not the reading"
        return
    file = f"C-MTEB/AFQMC@{TRAINING_SOURCES['afqmc'].origins[0].revision[:8]}/data/train-00000-of-00001.parquet"
    assert message_of(tmp_path, "afqmc") == f"source 'mine': {file}: expected at least 99 rows, found 98"


def test_rejected_rows_count_as_rows_and_lines_without_any_do_not(tmp_path, hub, declare):
    """Of three queries one has more fields than the header."""
    tables = {
        "queries_train": ["qid\ttext", "", "1\tone question", "2\tb\tc", "3\tno answer", ""],
        "qrels_retrieval_train": ["qid\tpid", "1\t1"],
        "qrels_train": ["qid\t-\tpid\trel", "1\t0\t1\t3"],
    }
    write_t2ranking(hub.folder / "THUIR/T2Ranking/data", **tables)
    layout = without_rows("t2ranking")
    source = registered_source("t2ranking", None)
    declare("t2ranking", layout=layout | {"queries": layout["queries"].model_copy(update={"rows": 4})}, sha256={})
    with pytest.raises(InputError, match=r"queries\.train\.tsv: expected at least 4 rows, found 3"):
        ingest(tmp_path / "out", source, tolerance=0.5)
    declare("t2ranking", layout=layout | {"queries": layout["queries"].model_copy(update={"rows": 3})}, sha256={})
    assert counts(ingest(tmp_path / "out", source, tolerance=0.5))["judgements"] == 1


def test_a_file_of_dev_pairs_has_a_number_of_rows_of_its_own(tmp_path, hub, declare):
    folder = write_cmteb(hub.folder / "C-MTEB/LCQMC", PAIRS_100)
    write_cmteb(folder, PAIRS_100[:5], split="validation")
    declare("lcqmc", layout={"rows": 100, "dev_rows": 10})
    assert "validation-00000-of-00001.parquet: expected at least 10 rows, found 5" in message_of(tmp_path, "lcqmc")
    shares = {"train": 0.5, "dev": 0.5, "test": 0}
    assert counts(fetched(tmp_path, "lcqmc", splits=shares))["rows"] == 100, "dev pairs are not read with shares"


def test_a_user_s_own_files_and_another_revision_may_have_any_number_of_rows(tmp_path, hub):
    write_cmteb(hub.folder / "C-MTEB/AFQMC", PAIRS_100)
    assert counts(fetched(tmp_path, "afqmc", revision="main"))["rows"] == 100
    assert counts(run_registered(tmp_path, "afqmc", hub.folder / "C-MTEB/AFQMC"))["rows"] == 100


def test_at_its_origin_a_source_has_its_column_of_negatives(tmp_path, hub, declare):
    rows = [{key: value for key, value in row.items() if key != "negative_passages"} for row in DUREADER]
    path = write_gzip(hub.folder / "zyznull/dureader-retrieval-ranking/train.jsonl.gz", rows)
    declare("dureader", layout=without_rows("dureader"))
    assert "row 1: negative_passages: missing" in message_of(tmp_path, "dureader")
    assert table(run_registered(tmp_path, "dureader", path), "negatives") == [], "a user's file may lack it"


def test_a_snapshot_without_a_file_names_it_and_both_folders(tmp_path, hub):
    texts, scores = (origin.id for origin in TRAINING_SOURCES["mmarco_zh"].origins)
    for repository in (texts, scores):
        (hub.folder / repository).mkdir(parents=True)
    message = message_of(tmp_path, "mmarco_zh", revision={texts: "main", scores: "main"})
    assert f"{texts}@c0ffeec0/chinese_collection.tsv" in message
    assert "expected a file, found none" in message


def test_a_commit_may_hold_a_column_of_other_scores(tmp_path, hub):
    folder = write_mmarco(tmp_path / "m")
    (part,) = (folder / "chinese_bge-reranker-v2-m3").glob("train-00000-*")
    pd.read_parquet(part).assign(**{"neg.score": "high"}).to_parquet(part)
    assert "column 'neg.score': expected lists of numbers" in message_of(tmp_path, "mmarco_zh", folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "sts"),
        ("reader", "pairs"),
        ("score_range", [0, 1]),
        ("columns", {"text_a": "a", "text_b": "b", "score": "c"}),
    ],
)
def test_what_the_registry_knows_may_not_be_said_again(tmp_path, field, value):
    message = message_of(tmp_path, "lcqmc", tmp_path, **{field: value})
    assert message.startswith(f"params.yaml: ingest.sources.mine: {field}: the registry describes 'lcqmc'")


@pytest.mark.parametrize(("field", "value"), [("documents_per_query", [1, 2]), ("named_negatives", 3)])
def test_a_parameter_of_retrieval_does_not_fit_pairs(tmp_path, field, value):
    assert f"ingest.sources.mine: {field} is for task 'ir'" in message_of(tmp_path, "lcqmc", tmp_path, **{field: value})
    with pytest.raises(InputError, match=rf"ingest\.sources\.mine\.{field}: unknown parameter"):
        ingest(tmp_path / "out", pairs_source(tmp_path / "x.csv", **{field: value}))


def test_contradictions_of_a_later_source_show_before_the_first_is_read(tmp_path):
    sources = {
        "first": pairs_source(tmp_path / "nowhere.csv"),
        "second": registered_source("lcqmc", tmp_path, named_negatives=1),
    }
    values = {"seed": 1, "tolerance": 0, "sources": sources}
    with pytest.raises(InputError, match=r"sources\.second: named_negatives"):
        ingest_sources(IngestParams.parse(values, "ingest"), tmp_path)


def test_an_unknown_name_is_an_error_of_the_params(tmp_path):
    message = message_of(tmp_path, "t2rank")
    assert message.startswith("params.yaml: ingest.sources.mine.registered: input should be 't2ranking', ")


def test_a_source_that_is_not_registered_needs_a_path(tmp_path):
    with pytest.raises(InputError, match=r"sources\.mine\.path: "):
        ingest(tmp_path / "out", pairs_source(tmp_path) | {"path": None})


@pytest.mark.parametrize("limit", [0, -1, 1.5, "10"])
def test_a_limit_is_a_whole_number_from_1(tmp_path, limit):
    assert "ingest.sources.mine.limit: " in message_of(tmp_path, "lcqmc", tmp_path, limit=limit)


@pytest.mark.parametrize("name", list(TRAINING_SOURCES))
def test_params_and_registry_agree_on_the_task(name):
    values = {"seed": 1, "tolerance": 0, "sources": {"mine": registered_source(name, Path("x"))}}
    assert IngestParams.parse(values, "ingest").sources["mine"].task == TRAINING_SOURCES[name].task
