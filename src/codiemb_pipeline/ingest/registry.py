"""The training sources of the paper and near it: where each lies, its files and columns, and what is known of it.

``confirmed`` says that id, revision, files and columns are known, so that ``path: null`` may fetch it; ``note`` says
what is not known, or where it was read. Instructions are those that mteb's registry states for the benchmark of the
same name (Youtu-Embedding's entry). ``sources.py`` finds the files.
"""

from __future__ import annotations

from dataclasses import dataclass

from codiemb_pipeline.params.ingest import PairColumns
from codiemb_pipeline.schema import Task

SENTENCES = PairColumns(text_a="sentence1", text_b="sentence2", score="score")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a retrieval source: ``tsv``, ``csv`` or ``parquet``.

    Attributes:
        file: name, or pattern, in the source's folder.
        columns: those read, in the order that the use of the table says.
        header: all columns of a file that does not name them itself.
        parts: whether several files match, read in the order of their names: parquet files one after the other, text
            as if it were one file, since Multi-CPR cuts a corpus anywhere, even inside a character.
    """

    file: str
    columns: tuple[str, ...]
    form: str = "tsv"
    header: tuple[str, ...] | None = None
    parts: bool = False


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A retrieval source in tables.

    Attributes:
        corpus: columns id, text.
        queries: columns id, text.
        relevant: columns query id, document id; ``grade`` of ``grades`` where it has the pair, else 1.
        negative: columns query id, document id; documents not relevant.
        grades: columns query id, document id, grade; grade 0 is a negative.
        lists: ids of documents stand in lists.
    """

    corpus: Table
    queries: Table
    relevant: Table
    negative: Table | None = None
    grades: Table | None = None
    lists: bool = False


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of a query with its documents: lists of texts, or of objects with a ``text``."""

    file: str = "*"
    query: str = "query"
    positive: str = "positive"
    negative: str = "negative"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Scored pairs.

    Attributes:
        train: names or patterns of the training file, in the source's folder; the first that something matches.
        dev: the same for held-out pairs that are no benchmark's; read with ``splits: null``.
        labels: gold of each label where scores are classes, else ``None``.
        unlabelled: labels of rows without a label; these are filtered and counted.
    """

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    columns: PairColumns = SENTENCES
    score_range: tuple[float, float] = (0.0, 1.0)
    labels: dict[str, float] | None = None
    unlabelled: tuple[str, ...] = ()


WEB = "Given a web search query, retrieve relevant passages that answer the query"
CHINESE_WEB = "Given a Chinese search query, retrieve web passages that answer the question"
FINANCE = "Represent the text in conversations between users and financial customer service, "
SIMILAR = "retrieve semantically similar text"


@dataclass(frozen=True, kw_only=True)
class TrainingSource:
    """What is known of a source.

    Attributes:
        fetch: files of the origin to fetch, as patterns.
        instruction: the task in words, for ``encoder.prompts.instructions``.
        confirmed: whether all that ``path: null`` needs is known.
        note: what is not known, and where facts were read.
        hub_id: data set on the hub; ``github`` is the repository of one that is not there.
        revision: commit; ``None`` where not known.
        licence: as its origin states it; ``None`` where it states none that we have seen.
        examples: what the training files hold before anything is set aside, queries (``ir``) or pairs (``sts``);
            ``None`` where no figure was found. For the plan alone: ``ingest`` counts what it reads.
        examples_from: where that figure was read.
        examples_about: whether it is of a copy, or of rows that need not be examples, and so only near the number.
    """

    layout: Tables | Rows | Pairs
    fetch: tuple[str, ...]
    instruction: str
    confirmed: bool
    note: str
    hub_id: str | None = None
    github: str | None = None
    revision: str | None = None
    licence: str | None = None
    examples: int | None = None
    examples_from: str = ""
    examples_about: bool = False

    @property
    def task(self) -> Task:
        """``sts`` for pairs, else ``ir``."""
        return "sts" if isinstance(self.layout, Pairs) else "ir"


def _cmteb(name: str, **known: object) -> TrainingSource:
    """Return one of C-MTEB's data sets, whose training pairs lie beside the benchmark's."""
    patterns = {
        split: tuple(form.format(split) for form in ("data/{}-*.parquet", "{}-*.parquet", "{}.parquet", "{}.jsonl"))
        for split in ("train", "validation", "dev")
    }
    dev = (*patterns["validation"], *patterns["dev"]) if known.pop("has_dev", True) else ()
    pairs = Pairs(train=patterns["train"], dev=dev, score_range=known.pop("score_range", (0.0, 1.0)))
    return TrainingSource(hub_id=f"C-MTEB/{name}", layout=pairs, fetch=("data/*.parquet",), **known)


def _multi_cpr(domain: str, corpus: str, instruction: str) -> TrainingSource:
    layout = Tables(
        corpus=Table(file=corpus, columns=("pid", "text"), header=("pid", "text"), parts="*" in corpus),
        queries=Table(file="train.query.txt", columns=("qid", "text"), header=("qid", "text")),
        relevant=Table(file="qrels.train.tsv", columns=("qid", "pid"), header=("qid", "0", "pid", "relevance")),
    )
    return TrainingSource(
        github="Alibaba-NLP/Multi-CPR",
        revision="a4e467182a3e2c110528a1575d79b33cc449d2c3",
        layout=layout,
        fetch=(f"data/{domain}/",),
        instruction=instruction,
        confirmed=True,
        note="Its files are in the repository at that commit; no licence of the data is stated there.",
        examples=100_000,
        examples_from="its README",
    )


def _clue(name: str, examples: int, note: str) -> TrainingSource:
    """Return one of CLUE's sets of three classes: 0 neutral, 1 entailment, 2 contradiction; -1 or - for none.

    Gold is 1 for entailment and 0 for the others, which is common; what the paper chose is not known.
    """
    classes = {"neutral": 0.0, "entailment": 1.0, "contradiction": 0.0}
    numbers = {str(number): gold for number, gold in enumerate(classes.values())}
    pairs = Pairs(
        train=(f"{name}/train-*.parquet", "train-*.parquet", "train.parquet", "train.json", "train.jsonl"),
        dev=(f"{name}/validation-*.parquet", "validation-*.parquet", "validation.parquet", "dev.json", "dev.jsonl"),
        columns=PairColumns(text_a="sentence1", text_b="sentence2", score="label"),
        labels={**classes, **numbers},
        unlabelled=("-1", "-", "None"),
    )
    return TrainingSource(
        hub_id="clue/clue", layout=pairs, fetch=(f"{name}/*.parquet",), instruction=SIMILAR.capitalize(),
        confirmed=False, note=note, examples=examples, examples_from="card of clue/clue",
    )  # fmt: skip


TRAINING_SOURCES: dict[str, TrainingSource] = {
    "t2ranking": TrainingSource(
        hub_id="THUIR/T2Ranking",
        revision="2a369a430a70979223f1b9a41b1919774d46b432",
        licence="apache-2.0",
        layout=Tables(
            corpus=Table(file="collection.tsv", columns=("pid", "text")),
            queries=Table(file="queries.train.tsv", columns=("qid", "text")),
            relevant=Table(file="qrels.retrieval.train.tsv", columns=("qid", "pid")),
            grades=Table(file="qrels.train.tsv", columns=("qid", "pid", "rel")),
        ),
        fetch=(
            "data/collection.tsv",
            "data/queries.train.tsv",
            "data/qrels.train.tsv",
            "data/qrels.retrieval.train.tsv",
        ),
        instruction=CHINESE_WEB,
        confirmed=False,
        note="files and card were seen; revision, folder data/ and headers were read in one public audit of it only.",
        examples=258_042,
        examples_from="card of THUIR/T2Ranking",
    ),
    "dureader": TrainingSource(
        hub_id="zyznull/dureader-retrieval-ranking",
        licence="apache-2.0",
        layout=Rows(file="train.jsonl.gz", positive="positive_passages", negative="negative_passages"),
        fetch=("train.jsonl.gz",),
        instruction=CHINESE_WEB,
        confirmed=False,
        note="file and columns were seen, its revision was not, and it has a loading script.",
        examples=86_395,
        examples_from="rows of the ready-made copy in BeastyZ/cmteb_retrieval",
        examples_about=True,
    ),
    "mmarco_zh": TrainingSource(
        hub_id="unicamp-dl/mmarco",
        layout=Tables(
            corpus=Table(file="chinese_collection.tsv", columns=("pid", "text"), header=("pid", "text")),
            queries=Table(file="chinese_queries.train.tsv", columns=("qid", "text"), header=("qid", "text")),
            relevant=Table(file="hard_negatives/*.parquet", columns=("qid", "pos"), form="parquet", parts=True),
            negative=Table(file="hard_negatives/*.parquet", columns=("qid", "neg"), form="parquet", parts=True),
            lists=True,
        ),
        fetch=("data/google/collections/chinese_collection.tsv", "data/google/queries/train/chinese_queries.train.tsv"),
        instruction=WEB,
        confirmed=False,
        note="the texts' revision and folders are not known; the ids of positives and negatives are another data set, "
        "hotchpotch/mmarco-hard-negatives-reranker-score, config chinese_bge-reranker-v2-m3, whose parquet files go to "
        "a folder hard_negatives beside the texts.",
        examples=502_912,
        examples_from="rows of the ids of negatives; the ready-made copy in BeastyZ/cmteb_retrieval has 388,596",
        examples_about=True,
    ),
    "cmedqa2": TrainingSource(
        github="zhangsheng93/cMedQA2",
        revision="85feb9278c3ae552c591205cbf3e828368c91f8f",
        licence="non-commercial research (README); GPL-3.0 (LICENSE)",
        layout=Tables(
            corpus=Table(file="answer*.*", columns=("ans_id", "content"), form="csv"),
            queries=Table(file="question*.*", columns=("question_id", "content"), form="csv"),
            relevant=Table(file="train_candidates.*", columns=("question_id", "pos_ans_id"), form="csv"),
            negative=Table(file="train_candidates.*", columns=("question_id", "neg_ans_id"), form="csv"),
        ),
        fetch=("question.zip", "answer.zip", "train_candidates.zip"),
        instruction="Given a Chinese community medical question, retrieve replies that best answer the question",
        confirmed=True,
        note="The corpus holds the answers of its dev and test too, and one of the two became CmedqaRetrieval.",
        examples=100_000,
        examples_from="questions of its training set",
    ),
    "multi_cpr_ecom": _multi_cpr(
        "ecom",
        "corpus.tsv",
        "Given a user query from an e-commerce website, retrieve description sentences of relevant products",
    ),
    "multi_cpr_medical": _multi_cpr(
        "medical", "corpus_split_*.tsv", "Given a medical question, retrieve user replies that best answer the question"
    ),
    "multi_cpr_video": _multi_cpr(
        "video", "corpus.tsv", "Given a video search query, retrieve the titles of relevant videos"
    ),
    "bq": _cmteb(
        "BQ",
        instruction=f"Represent the user problem descriptions when handling bank credit business, {SIMILAR}",
        confirmed=False,
        note="that a training file lies beside the benchmark's is not known.",
        examples=100_000,
        examples_from="a third-party card",
    ),
    "lcqmc": _cmteb(
        "LCQMC",
        revision="17f9b096f80380fce5ed12a9be8be7784b337daf",
        instruction=f"Represent the user question descriptions on general question-answering platforms, {SIMILAR}",
        confirmed=True,
        note="revision and files are the benchmark's.",
        examples=238_766,
        examples_from="its card",
    ),
    "pawsx": _cmteb(
        "PAWSX",
        instruction=f"Represent the Chinese Translations of English Encyclopedias, {SIMILAR}",
        confirmed=False,
        note="the training file was seen, its revision was not (the benchmark's copy is another, mteb/PAWSX).",
        examples=49_401,
        examples_from="its training file",
    ),
    "stsb": _cmteb(
        "STSB",
        score_range=(0.0, 5.0),
        instruction=f"Represent the short general domain sentences, {SIMILAR}",
        confirmed=False,
        note="the training file was seen, its revision was not (the benchmark's copy is another, mteb/STSB).",
        examples=5_231,
        examples_from="its training file",
    ),
    "afqmc": _cmteb(
        "AFQMC",
        revision="b44c3b011063adb25877c13823db83bb193913c4",
        has_dev=False,
        instruction=FINANCE + SIMILAR,
        confirmed=True,
        note="the validation pairs are the benchmark.",
        examples=34_334,
        examples_from="its training file",
    ),
    "atec": _cmteb(
        "ATEC",
        revision="0f319b1142f28d00e055a6770f3f726ae9b7d865",
        instruction=FINANCE + SIMILAR,
        confirmed=True,
        note="revision and files are the benchmark's.",
        examples=62_477,
        examples_from="its training file",
    ),
    "qbqtc": TrainingSource(
        github="CLUEbenchmark/QBQTC",
        revision="37a90b8923ae3b23e55e16ed1e2a6389574d8837",
        layout=Pairs(
            train=("dataset/train.json", "train.json", "train.jsonl"),
            dev=("dataset/dev.json", "dev.json", "dev.jsonl"),
            columns=PairColumns(text_a="query", text_b="title", score="label"),
            score_range=(0.0, 2.0),
        ),
        fetch=("dataset/train.json", "dataset/dev.json"),
        instruction=f"Represent the web search query, {SIMILAR}",
        confirmed=True,
        note="The hub has its test set only.",
        examples=180_000,
        examples_from="its training file",
    ),
    "cmnli": _clue("cmnli", 391_783, "the columns, the files and the revision on the hub; it had a loading script."),
    "ocnli": _clue("ocnli", 50_437, "everything but the id and the number of pairs: columns, files and revision."),
}
