"""The whole stage: the committed parameters on the sources that the quickstart installs, and Cranfield."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import frozen_params
import pandas as pd
import pytest
from source_files import beir_source, counts, ingest, table

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params.ingest import IngestParams

ROOT = Path(__file__).parents[2]
CRANFIELD = ROOT.parent / "shared" / "data" / "ir" / "cranfield"


# Rows and digest of each table of the quickstart, as written before rows were streamed.
WRITTEN_BEFORE = {
    "lee/pairs": (1225, "dfe5234715a48ccf"),
    "semanlink/corpus": (7172, "6e23772523487b1e"),
    "semanlink/negatives": (0, "4f53cda18c2baa0c"),
    "semanlink/qrels": (13569, "4c03d953b8d85474"),
    "semanlink/queries": (2350, "4b771f2142e54ee5"),
    "simlex999/pairs": (998, "a611c507bd7a3f2e"),
    "wordsim353/pairs": (351, "c822a5ba728f4c65"),
}


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("cherche") is None or find_spec("gensim") is None:
        pytest.skip("the quickstart's packages are not installed: pip install codiemb-pipeline[quickstart]")
    out = tmp_path_factory.mktemp("quickstart")
    ingest_sources(IngestParams.parse(frozen_params.params()["ingest"], "ingest"), out)
    return out


def test_the_quickstart_has_the_rows_it_had_before_they_were_streamed(quickstart):
    found = {}
    for path in quickstart.rglob("*.parquet"):
        rows = list(pd.read_parquet(path).itertuples(index=False, name=None))
        digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
        found[path.relative_to(quickstart).with_suffix("").as_posix()] = (len(rows), digest)
    assert found == WRITTEN_BEFORE


def test_semanlink_holds_7300_documents_of_which_7172_have_a_title_of_their_own(quickstart):
    """7,300 entries less 61 without a title less 67 whose title repeats; 4,166 labels less 1,816 of the wrong size."""
    found = counts(quickstart, "semanlink")
    assert (found["rows"], found["rejected"], found["documents"], found["judgements"]) == (7300, 0, 7172, 13569)
    assert found["splits"] == {"train": 1660, "dev": 232, "test": 458}
    assert found["filtered"]["documents without a title"] == 61
    assert found["filtered"]["documents whose title repeats"] == 67
    assert found["filtered"]["queries with relevant documents outside 2 to 60"] == 1816


@pytest.mark.skipif(not CRANFIELD.exists(), reason=f"no Cranfield at {CRANFIELD}")
def test_cranfield_keeps_its_own_splits(tmp_path):
    """225 queries as 135, 22 and 68; 906, 142 and 563 judgements; 1,398 documents: the set's own README."""
    out = ingest(tmp_path, beir_source(CRANFIELD))
    found = counts(out)
    assert found["splits"] == {"train": 135, "dev": 22, "test": 68}
    assert (found["documents"], found["judgements"], found["rejected"]) == (1398, 906 + 142 + 563, 0)
    assert {row[2] for row in table(out, "qrels")} == {1, 2, 3, 4}


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", ".hidden"])
def test_a_source_name_that_is_no_folder_name_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match=r"params\.yaml: ingest\.sources\."):
        ingest(tmp_path / "out", beir_source(tmp_path), name=name)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reader": "lee"}, "mine.task: input should be 'sts'"),
        ({"reader": "semanlink"}, "mine.splits: "),
        ({"score_range": [0, 1]}, "mine.score_range: unknown parameter"),
        ({"documents_per_query": [3, 2]}, r"documents_per_query must be \[fewest, most\]"),
    ],
)
def test_parameters_that_contradict_each_other_are_errors(tmp_path, changes, expected):
    with pytest.raises(InputError, match=expected):
        ingest(tmp_path / "out", beir_source(tmp_path, **changes))
