"""The registry against mteb itself: ids, revisions, splits, sizes, ranges and instructions are mteb's."""

import re

import pytest
from evaluate_params import evaluate_params

from codiemb_pipeline.benchmarks.registry import BENCHMARKS, PUBLISHED, names_of
from codiemb_pipeline.errors import InputError


def test_there_are_eight_of_retrieval_and_seven_of_similarity():
    assert (len(names_of("retrieval")), len(names_of("sts")), len(BENCHMARKS)) == (8, 7, 15)
    assert list(BENCHMARKS) == names_of("retrieval") + names_of("sts")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_as_mteb_has_it(name):
    import mteb

    spec, task = BENCHMARKS[name], mteb.get_task(name)
    assert re.fullmatch(r"[0-9a-f]{40}", spec.revision)
    assert task.metadata.dataset == {"path": spec.hub_id, "revision": spec.revision}
    assert spec.metric == task.metadata.main_score
    facts = task.metadata.descriptive_stats[spec.split]
    if spec.type == "retrieval":
        assert spec.size == {"queries": facts["num_queries"], "documents": facts["num_documents"]}
        assert spec.qrels == facts["relevant_docs_statistics"]["num_relevant_docs"]
    else:
        assert spec.size == {"pairs": facts["num_samples"]}
        assert spec.score_range == (task.min_score, task.max_score)


def test_the_splits_are_those_the_leaderboard_scores():
    import mteb

    scored = {task.metadata.name: list(task.eval_splits) for task in mteb.get_benchmark("MTEB(cmn, v1)").tasks}
    for name, spec in BENCHMARKS.items():
        assert scored[name] == [spec.split]


def test_the_instructions_are_those_of_the_registry_entry_that_names_the_paper():
    from mteb.models.model_implementations.youtu_models import youtu_instruction

    for name, spec in BENCHMARKS.items():
        entry = youtu_instruction[name]
        assert spec.instruction == (entry["query"] if isinstance(entry, dict) else entry)


def test_published_scores_have_the_published_means():
    """The reference states both means of both models, from the same results repository."""
    stated = {"bge-large-zh-v1.5": (70.46, 54.44), "Youtu-Embedding": (80.21, 68.82)}
    assert set(stated) == set(PUBLISHED)
    for model, means in stated.items():
        for kind, mean in zip(("retrieval", "sts"), means, strict=True):
            scores = [BENCHMARKS[name].published[model] for name in names_of(kind)]
            assert sum(scores) / len(scores) == pytest.approx(mean, abs=0.006)


def test_a_name_that_is_none_of_the_fifteen_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"evaluate\.benchmarks: no benchmark 'T2Retreival'.*'T2Retrieval'"):
        evaluate_params({"T2Retreival": {"type": "mteb", "path": None}})


def test_a_benchmark_made_of_a_source_may_have_any_name():
    local = {"type": "sts", "source": "words", "split": "test"}
    assert set(evaluate_params({"Words": local, "LCQMC": {"type": "mteb", "path": None}}).benchmarks) == {
        "Words",
        "LCQMC",
    }


def test_a_split_of_ones_own_is_no_parameter_of_a_benchmark_of_mteb():
    with pytest.raises(InputError, match=r"LCQMC.*split: unknown parameter"):
        evaluate_params({"LCQMC": {"type": "mteb", "path": None, "split": "validation"}})
