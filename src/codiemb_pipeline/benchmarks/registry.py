"""The paper's 15 benchmarks: the only list of them, and nothing but facts.

Hub ids, revisions, splits, score ranges and sizes are those of mteb 2.26.24 (task metadata and descriptive statistics);
of several splits, the one that benchmark "MTEB(cmn, v1)" scores. The instructions are those of Youtu-Embedding's entry
in mteb, which names CoDiEmb as its paper (models/model_implementations/youtu_models.py); in retrieval only queries get
one. Published scores are those of mteb's results repository, in percent.
"""

from dataclasses import dataclass
from typing import Literal

from codiemb_pipeline.errors import InputError, nearest

Kind = Literal["retrieval", "sts"]

METRICS: dict[str, str] = {"retrieval": "ndcg_at_10", "sts": "cosine_spearman"}
PUBLISHED = ("bge-large-zh-v1.5", "Youtu-Embedding")
"""The models whose published scores are known for all 15."""


@dataclass(frozen=True)
class BenchmarkSpec:
    """One benchmark.

    Attributes:
        name: of the mteb task.
        type: ``retrieval`` or ``sts``.
        split: the one that is scored.
        hub_id: of the data set on the Hugging Face hub.
        revision: its pinned commit, 40 hexadecimal digits.
        size: numbers of ``queries`` and ``documents``, or of ``pairs``, in the split.
        published: score by model, in percent.
        instruction: the task in words.
        qrels: number of qrels; ``None`` for similarity.
        score_range: lowest and highest gold score; ``None`` for retrieval.
    """

    name: str
    type: Kind
    split: str
    hub_id: str
    revision: str
    size: dict[str, int]
    published: dict[str, float]
    instruction: str
    qrels: int | None = None
    score_range: tuple[int, int] | None = None

    @property
    def metric(self) -> str:
        """The main score, by mteb's name."""
        return METRICS[self.type]


def _retrieval(
    name: str, revision: str, sizes: tuple[int, int, int], published: tuple[float, float], instruction: str
) -> BenchmarkSpec:
    """Return a retrieval benchmark; ``sizes`` are its documents, queries and qrels."""
    documents, queries, qrels = sizes
    size, scores = {"queries": queries, "documents": documents}, dict(zip(PUBLISHED, published, strict=True))
    return BenchmarkSpec(name, "retrieval", "dev", f"mteb/{name}", revision, size, scores, instruction, qrels=qrels)


def _similarity(
    hub_id: str, revision: str, pairs: int, published: tuple[float, float], instruction: str,
    *, highest: int = 1, split: str = "test",
) -> BenchmarkSpec:  # fmt: skip
    """Return a similarity benchmark with scores from 0 to ``highest``."""
    name, size, scores = hub_id.partition("/")[2], {"pairs": pairs}, dict(zip(PUBLISHED, published, strict=True))
    instruction = f"{instruction}, retrieve semantically similar text"
    return BenchmarkSpec(name, "sts", split, hub_id, revision, size, scores, instruction, score_range=(0, highest))


_SEARCH = "Given a Chinese search query, retrieve web passages that answer the question"
_FINANCE = "Represent the text in conversations between users and financial customer service"

_ALL = (
    _retrieval("T2Retrieval", "cf778c0ea4168ec5174a34d888d6453e4cde9222", (118605, 22812, 118932), (83.99, 87.50),
               _SEARCH),
    _retrieval("MMarcoRetrieval", "4940a7b26bf53463cfe3435bb8e201963e9c31ae", (106813, 6980, 7437), (79.23, 88.45),
               "Given a web search query, retrieve relevant passages that answer the query"),
    _retrieval("DuRetrieval", "313c81b51311893c8fd09ca432f96b841ed0ebb3", (100001, 2000, 9839), (86.32, 91.98),
               _SEARCH),
    _retrieval("CovidRetrieval", "9c6dc4b276bb47c3ff725bbc5ffcafd56dded38b", (100001, 949, 959), (73.35, 91.94),
               "Given a question on COVID-19, retrieve news articles that answer the question"),
    _retrieval("CmedqaRetrieval", "c476f85bf03d6642ec66bf54b9a551c88108bbb4", (100001, 3999, 7449), (42.57, 52.72),
               "Given a Chinese community medical question, retrieve replies that best answer the question"),
    _retrieval("EcomRetrieval", "fa705ce5418e91636b1eaeaf43f34c15aa3f5a8a", (100902, 1000, 1000), (65.33, 74.47),
               "Given a user query from an e-commerce website, retrieve description sentences of relevant products"),
    _retrieval("MedicalRetrieval", "023ae3b2c6b96f583c4ff9b3f9239c93f7885c20", (100999, 1000, 1000), (59.59, 73.79),
               "Given a medical question, retrieve user replies that best answer the question"),
    _retrieval("VideoRetrieval", "146a9d5e4fd7a9c182b6b92cccb6a3753994305c", (100930, 1000, 1000), (73.32, 80.85),
               "Given a video search query, retrieve the titles of relevant videos"),
    _similarity("C-MTEB/ATEC", "0f319b1142f28d00e055a6770f3f726ae9b7d865", 20000, (49.54, 61.70), _FINANCE),
    _similarity("C-MTEB/BQ", "e3dda5e115e487b39ec7e618c0c6a29137052a55", 10000, (62.94, 72.27),
                "Represent the user problem descriptions when handling bank credit business"),
    _similarity("C-MTEB/LCQMC", "17f9b096f80380fce5ed12a9be8be7784b337daf", 12500, (74.33, 77.48),
                "Represent the user question descriptions on general question-answering platforms"),
    _similarity("mteb/PAWSX", "bd129d4230ee0551b5469c566bced8da75abae0a", 2000, (33.92, 59.32),
                "Represent the Chinese Translations of English Encyclopedias"),
    _similarity("mteb/STSB", "e036defee8f190911de6fc825a944b928c8cda53", 1361, (78.70, 83.18),
                "Represent the short general domain sentences", highest=5),
    _similarity("C-MTEB/AFQMC", "b44c3b011063adb25877c13823db83bb193913c4", 4316, (44.36, 72.19), _FINANCE,
                split="validation"),
    _similarity("C-MTEB/QBQTC", "790b0510dc52b1553e8c49f3d2afb48c0e5c48b7", 5000, (37.29, 55.60),
                "Represent the web search query", highest=2),
)  # fmt: skip

BENCHMARKS: dict[str, BenchmarkSpec] = {spec.name: spec for spec in _ALL}


def spec_of(name: str) -> BenchmarkSpec:
    """Return the benchmark of that name.

    Raises:
        InputError: there is none; names the nearest.
    """
    if name not in BENCHMARKS:
        raise InputError(f"no benchmark {name!r} of type 'mteb'{nearest(name, BENCHMARKS)}")
    return BENCHMARKS[name]


def names_of(kind: Kind) -> list[str]:
    """Return the names of the 8 retrieval or the 7 similarity benchmarks, in order."""
    return [spec.name for spec in _ALL if spec.type == kind]
