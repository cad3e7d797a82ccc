"""Encoders with different tokens are not merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.merge.vocabulary import check_same_vocabulary

WORDS = {"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 1}}, "added_tokens": [{"content": "[X]", "id": 2}]}
BPE = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}, "added_tokens": []}
UNIGRAM = {"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]]}, "added_tokens": []}


def folder(root: Path, name: str, content: dict[str, Any], **config: Any) -> Path:
    write_json(root / name / "tokenizer.json", content)
    if config:
        write_json(root / name / "tokenizer_config.json", config)
    return root / name


def test_truncation_padding_and_spelling_of_merges_do_not_matter(tmp_path: Path) -> None:
    base = folder(tmp_path, "base", BPE | {"truncation": None})
    other = BPE | {"truncation": {"max_length": 8}, "model": BPE["model"] | {"merges": [["a", "b"]], "dropout": None}}
    check_same_vocabulary(base, [folder(tmp_path, "one", other)])


@pytest.mark.parametrize(
    ("base", "other", "message"),
    [
        (WORDS, WORDS | {"added_tokens": [{"content": "[X]", "id": 3}]}, r"token '\[X\]': expected 2 .*found 3"),
        (WORDS, WORDS | {"model": WORDS["model"] | {"vocab": {"a": 1, "b": 0}}}, r"token 'a': expected 0 .*found 1"),
        (WORDS, WORDS | {"added_tokens": []}, r"token '\[X\]': expected 2 .*found None"),
        (WORDS, WORDS | {"model": WORDS["model"] | {"type": "WordLevel"}}, r"model 'type'"),
        (BPE, BPE | {"model": BPE["model"] | {"merges": []}}, r"merge 'a b'"),
        (UNIGRAM, UNIGRAM | {"model": UNIGRAM["model"] | {"vocab": [["a", -1.0], ["b", -3.0]]}}, r"score of token 'b'"),
    ],
)
def test_other_tokens_name_file_and_token(
    tmp_path: Path, base: dict[str, Any], other: dict[str, Any], message: str
) -> None:
    same, odd = folder(tmp_path, "same", base), folder(tmp_path, "odd", other)
    with pytest.raises(InputError, match=rf"odd/tokenizer\.json: {message}"):
        check_same_vocabulary(folder(tmp_path, "base", base), [same, odd])


def test_other_special_tokens_or_case_are_named(tmp_path: Path) -> None:
    base = folder(tmp_path, "base", WORDS, do_lower_case=True, pad_token={"content": "[X]"}, model_max_length=512)
    same = folder(tmp_path, "same", WORDS, do_lower_case=True, pad_token="[X]", model_max_length=8)
    odd = folder(tmp_path, "odd", WORDS, do_lower_case=False)
    check_same_vocabulary(base, [same])
    with pytest.raises(InputError, match=r"odd/tokenizer_config\.json: do_lower_case: expected true .*found false"):
        check_same_vocabulary(base, [same, odd])


def test_a_base_with_a_word_list_only_is_compared_too(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "vocab.txt").write_text("a\nb\n[X]\n")
    check_same_vocabulary(tmp_path / "base", [folder(tmp_path, "same", WORDS)])
    (tmp_path / "base" / "vocab.txt").write_text("b\na\n[X]\n")
    with pytest.raises(InputError, match=r"token 'b': expected 0 as in .*vocab\.txt, found 1"):
        check_same_vocabulary(tmp_path / "base", [tmp_path / "same"])


def test_a_candidate_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"bare/tokenizer\.json: expected a tokenizer"):
        check_same_vocabulary(folder(tmp_path, "base", WORDS), [tmp_path / "bare"])
