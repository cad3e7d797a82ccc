"""What the audit counts, shows, takes out and refuses."""

from collections.abc import Iterable
from typing import Any

import pytest
from audit_texts import audit_params

from codiemb_pipeline.assemble.contamination import SHOWN, Audit
from codiemb_pipeline.benchmarks.data import BenchmarkText
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.schema import TrainingExample

CARD, CARD_EDITED = "怎么办理银行信用卡", "怎么办理银行储蓄卡"
TRAIN, TRAIN_EDITED = "明天去北京的火车几点开", "明天去南京的火车几点开"
OTHER = "红烧肉怎么做才好吃"


def ir(query: str, positives: Iterable[str], negatives: Iterable[str] = (), id: str = "q0") -> TrainingExample:
    fields = {"task": "ir", "scores": (), "source": "web"}
    return TrainingExample(query=query, positives=tuple(positives), negatives=tuple(negatives), id=id, **fields)


def pair(first: str, second: str, id: str = "p0") -> TrainingExample:
    fields = {"task": "sts", "negatives": (), "source": "pairs"}
    return TrainingExample(query=first, positives=(second,), scores=(0.5,), id=id, **fields)


def text(kind: Any, id: str, *texts: str) -> BenchmarkText:
    return BenchmarkText(kind, id, texts)


RETRIEVAL = [("Search", text("query", "b0", CARD)), ("Search", text("document", "b1", TRAIN))]
PAIRS = [("Pairs", text("pair", "b2", CARD, TRAIN))]


def audit_of(
    texts: Iterable[tuple[str, BenchmarkText]], corpora: dict[str, str] | None = None, **changes: Any
) -> Audit:
    return Audit(audit_params(**changes), texts, corpora or {})


def report_of(audit: Audit) -> dict[str, Any]:
    return audit.report().model_dump()


def counts(audit: Audit) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Return exact, near and benchmark texts of each finding."""
    return {
        (row["source"], row["benchmark"], row["training"], row["text"], *(["shared"] if row["shared"] else [])): (
            row["exact"],
            row["near"],
            row["benchmark_texts"],
        )
        for row in report_of(audit)["findings"]
    }


def test_every_kind_of_training_text_is_compared_with_every_kind_of_benchmark_text():
    audit = audit_of([*RETRIEVAL, *PAIRS])
    audit.check("web", [ir(CARD.replace("怎么", "怎么 "), [OTHER, TRAIN_EDITED], [CARD_EDITED])])
    audit.check("pairs", [pair(OTHER, TRAIN + "？")])
    assert counts(audit) == {
        ("web", "Search", "query", "query"): (1, 0, 1),
        ("web", "Search", "positive", "document"): (0, 1, 1),
        ("web", "Search", "negative", "query"): (0, 1, 1),
        ("web", "Pairs", "query", "sentence"): (1, 0, 1),
        ("web", "Pairs", "positive", "sentence"): (0, 1, 1),
        ("web", "Pairs", "negative", "sentence"): (0, 1, 1),
        ("web", "Pairs", "pair", "pair"): (0, 1, 1),
        ("pairs", "Search", "sentence", "document"): (1, 0, 1),
        ("pairs", "Pairs", "sentence", "sentence"): (1, 0, 1),
    }


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (CARD, TRAIN, (1, 0, 1)),
        (TRAIN + "。", CARD, (1, 0, 1)),
        (CARD, TRAIN_EDITED, (0, 1, 1)),
        (TRAIN_EDITED, CARD_EDITED, (0, 1, 1)),
        (CARD, OTHER, None),
        (CARD, CARD_EDITED, None),  # both like the same side
    ],
)
def test_a_pair_is_found_in_either_order_if_both_sides_are(first, second, expected):
    audit = audit_of(PAIRS)
    audit.check("pairs", [pair(first, second)])
    assert counts(audit).get(("pairs", "Pairs", "pair", "pair")) == expected


def test_a_pair_of_equal_sentences_is_found():
    audit = audit_of([("Pairs", text("pair", "b0", CARD, CARD))])
    audit.check("pairs", [pair(CARD, CARD), pair(CARD, OTHER)])
    assert counts(audit)["pairs", "Pairs", "pair", "pair"] == (1, 0, 1)


def test_texts_count_once_however_often_they_occur_and_an_equal_one_is_not_a_near_one_too():
    """The query occurs three times, is equal to one benchmark query and near the other."""
    audit = audit_of([("Search", text("query", "b0", CARD)), ("Search", text("query", "b1", CARD_EDITED))])
    queries = [CARD, CARD, f"\u3000{CARD} "]
    audit.check("web", [ir(query, [OTHER], id=f"q{place}") for place, query in enumerate(queries)])
    assert counts(audit) == {("web", "Search", "query", "query"): (1, 0, 2)}
    [sample] = report_of(audit)["findings"][0]["samples"]
    assert (sample["training_id"], sample["benchmark_id"], sample["exact"]) == ("q0", "b0", True)


def test_documents_of_a_corpus_that_train_and_test_share_are_told_apart():
    """The same documents of another source are no matter of design, nor are queries."""
    texts = [*RETRIEVAL, ("Search", text("document", "b3", OTHER))]
    audit = audit_of(texts, {"Search": "web"}, mode="drop")
    shown = [ir("猫为什么怕水呢", [TRAIN], [OTHER]), ir(CARD, [TRAIN])]
    assert audit.check("web", shown) == ([shown[0]], {"examples": 1, "positives": 0, "negatives": 0})
    assert audit.check("other", [shown[0]])[0] == []
    assert counts(audit) == {
        ("web", "Search", "query", "query"): (1, 0, 1),
        ("web", "Search", "positive", "document", "shared"): (1, 0, 1),
        ("web", "Search", "negative", "document", "shared"): (1, 0, 1),
        ("other", "Search", "positive", "document"): (1, 0, 1),
        ("other", "Search", "negative", "document"): (1, 0, 1),
    }


def test_samples_show_both_texts_cut_with_true_and_estimated_similarity():
    long = "．".join(f"第{place}条规定" for place in range(60))
    audit = audit_of([("Search", text("query", "b0", CARD)), ("Search", text("document", "b1", long))])
    audit.check("web", [ir(CARD_EDITED, [long.replace("．", "，")], id="q7")])
    document, query = report_of(audit)["findings"]
    assert document["samples"][0]["exact"]
    assert [len(document["samples"][0][side][0]) for side in ("training_texts", "benchmark_texts")] == [SHOWN, SHOWN]
    sample = query["samples"][0]
    assert (sample["training_texts"], sample["benchmark_texts"]) == ([CARD_EDITED], [CARD])
    assert (sample["training_id"], sample["benchmark_id"]) == ("q7", "b0")
    # 9 characters, 17 n-grams; the two of 信用 are in 2 + 3.
    assert sample["similarity"] == pytest.approx(12 / 22, abs=1e-4)
    assert sample["estimate"] == pytest.approx(12 / 22, abs=0.15)


def test_no_more_samples_are_kept_than_asked_for():
    queries = [f"{noun}怎么做才好吃呢" for noun in ("牛肉", "羊肉", "豆腐", "鲤鱼")]
    audit = audit_of([("Search", text("query", query, query)) for query in queries], samples=1)
    audit.check("web", [ir(query, [OTHER]) for query in queries] + [ir("鸡肉怎么做才好吃呢", [OTHER])])
    [finding] = [row for row in report_of(audit)["findings"] if row["training"] == "query"]
    assert (finding["exact"], finding["near"], finding["benchmark_texts"]) == (4, 1, 4)
    assert [sample["exact"] for sample in finding["samples"]] == [True, False]


@pytest.mark.parametrize("mode", ["report", "fail"])
def test_other_modes_than_drop_leave_the_examples_alone(mode):
    audit = audit_of(RETRIEVAL, mode=mode)
    shown = [ir(CARD, [TRAIN], [TRAIN_EDITED])]
    assert audit.check("web", shown) == (shown, {})
    assert report_of(audit)["removed"] == {}


def test_drop_takes_out_examples_positives_and_negatives_and_counts_them():
    audit = audit_of([*RETRIEVAL, ("Other", text("query", "b9", CARD))], mode="drop")
    kept, removed = audit.check(
        "web",
        [
            ir(CARD, [OTHER], [TRAIN], id="by its query"),
            ir("猫为什么怕水呢", [TRAIN], id="by all its positives"),
            ir("猫为什么怕水呢", [OTHER, TRAIN_EDITED], ["今天不下雨", TRAIN], id="kept in part"),
            ir("猫为什么怕水呢", [OTHER], ["今天不下雨"], id="kept"),
        ],
    )
    assert [example.id for example in kept] == ["kept in part", "kept"]
    assert (kept[0].positives, kept[0].negatives) == ((OTHER,), ("今天不下雨",))
    assert removed == {"examples": 2, "positives": 1, "negatives": 1}
    assert report_of(audit)["removed"] == {
        "web": {"Search": {"examples": 2, "positives": 1, "negatives": 1}, "Other": {"examples": 1}}
    }


@pytest.mark.parametrize(("act_on", "kept"), [(["pair"], ["one side", "none"]), (["sentence"], ["none"]), ([], None)])
def test_what_is_acted_on_is_said_by_the_parameters(act_on, kept):
    audit = audit_of(PAIRS, mode="drop", act_on=act_on)
    examples = [pair(TRAIN, CARD, "both"), pair(OTHER, CARD, "one side"), pair(OTHER, "猫为什么怕水呢", "none")]
    ids = [example.id for example in audit.check("pairs", examples)[0]]
    assert ids == (kept or [example.id for example in examples])


def test_fail_says_what_was_found_where_with_a_sample():
    audit = audit_of([*RETRIEVAL, *PAIRS], mode="fail", act_on=["query", "pair"])
    audit.check("web", [ir("猫为什么怕水呢", [TRAIN])])
    audit.refuse()
    audit.check("web", [ir(CARD, [OTHER], id="q5")])
    with pytest.raises(InputError) as caught:
        audit.refuse()
    message = str(caught.value)
    assert f"web: query in Search, query: 1 equal, 0 nearly equal; the first: {CARD!r}, there {CARD!r}" in message
    assert "document" not in message
    assert "sentence" not in message
    assert "set assemble.audit.mode to drop or report" in message


def test_the_report_says_what_was_compared():
    audit = audit_of([*RETRIEVAL, *PAIRS])
    audit.check("web", [ir(OTHER, [OTHER])] * 3)
    report = report_of(audit)
    assert report["benchmarks"] == {"Search": {"query": 1, "document": 1}, "Pairs": {"pair": 1}}
    assert report["sources"] == {"web": 3}
    assert report["findings"] == []
    assert report["settings"] == audit_params().model_dump()
