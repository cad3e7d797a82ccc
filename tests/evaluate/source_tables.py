"""A small retrieval source and a small similarity source, as ``ingest`` writes them."""

from pathlib import Path

from tiny_tables import pair_tables, retrieval_tables

CORPUS = [("the", "dog"), ("", "a cat"), ("big", "river"), ("", "red house"), ("old", "paper"), ("new", "music"),
          ("", "blue bird"), ("", "green fish"), ("small", "mountain"), ("", "cat and dog"), ("", "river bird"),
          ("the", "big blue house of the old dog")]  # fmt: skip
DOCUMENTS = [f"{title} {text}".strip() for title, text in CORPUS]
# Ids of queries and documents overlap on purpose; query 3 has no relevant document, query 4 is of another split.
QUERIES = [("dog", "test"), ("river", "test"), ("paper", "test"), ("mountain", "test"), ("music", "train")]
SCORED = ["dog", "river", "paper"]
QRELS = {0: {0: 1, 9: 2, 11: 1}, 1: {2: 1, 10: 3}, 2: {4: 1}, 4: {5: 1}}
PAIRS = [("dog", "cat", 0.7), ("dog", "river", 0.1), ("red", "blue", 0.5), ("old", "new", 0.2), ("bird", "fish", 0.9),
         ("the house", "a house", 0.9), ("music", "music", 1.0)]  # fmt: skip
TAGS = {"type": "retrieval", "source": "tags", "split": "test"}
WORDS = {"type": "sts", "source": "words", "split": "test"}


def write_pairs(folder: Path, pairs: list[tuple[str, str, float]], split: str = "test") -> None:
    pair_tables((str(number), *pair, split) for number, pair in enumerate(pairs)).write(folder)


def write_retrieval(folder: Path, corpus: list[tuple[str, str]] = CORPUS) -> None:
    queries = [(str(number), *query) for number, query in enumerate(QUERIES)]
    documents = [(str(number), *document) for number, document in enumerate(corpus)]
    qrels = [(str(query), str(doc), grade) for query, row in QRELS.items() for doc, grade in row.items()]
    retrieval_tables(queries, documents, qrels).write(folder)
