from __future__ import annotations

from typing import Any

import pytest

from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.params.encoder import PromptParams


def params(**values: Any) -> PromptParams:
    base = {
        "template": "Instruct: {instruction}\nQuery: ",
        "document_prefix": "passage: ",
        "in_pooling": True,
        "instructions": {"ir": "find", "sts": "", "news": "find news"},
    }
    return PromptParams.parse({**base, **values}, "encoder.prompts")


def test_an_instruction_is_rendered_by_the_template_and_an_empty_one_puts_nothing_there() -> None:
    book = PromptBook(params())
    assert book.prefix("ir", "query", "anything") == "Instruct: find\nQuery: "
    assert book.prefix("sts", "query", "anything") == ""
    assert PromptBook(params(instructions={})).prefix("ir", "query", "anything") == ""


def test_a_source_s_own_instruction_goes_before_its_task_s() -> None:
    book = PromptBook(params())
    assert book.instruction("ir", "news") == "find news"
    assert book.instruction("sts", "news") == "find news"
    assert book.prefix("ir", "query", "news") == "Instruct: find news\nQuery: "


def test_a_source_s_own_instruction_may_be_empty() -> None:
    book = PromptBook(params(instructions={"ir": "find", "plain": ""}))
    assert book.prefix("ir", "query", "plain") == ""
    assert book.prefix("ir", "query", "other") == "Instruct: find\nQuery: "


def test_a_document_bears_the_document_prefix_whatever_the_instruction() -> None:
    assert PromptBook(params()).prefix("ir", "document", "news") == "passage: "
    assert PromptBook(params(document_prefix="")).prefix("ir", "document", "news") == ""


def test_braces_in_an_instruction_are_left_as_they_are() -> None:
    book = PromptBook(params(instructions={"ir": "use {x} and {}"}))
    assert book.prefix("ir", "query", "a") == "Instruct: use {x} and {}\nQuery: "


def test_named_prefixes_hold_both_tasks_and_every_source_of_its_own_by_role() -> None:
    news = "Instruct: find news\nQuery: "
    assert PromptBook(params(instructions={"ir": "find", "sts": "compare", "news": "find news"})).named_prefixes() == {
        "query": "Instruct: find\nQuery: ",
        "document": "passage: ",
        "sts": "Instruct: compare\nQuery: ",
        "STS": "Instruct: compare\nQuery: ",
        "news": news,
        "news-query": news,
        "news-document": "passage: ",
    }


def test_a_source_that_is_called_like_a_role_does_not_take_its_place() -> None:
    named = PromptBook(params(instructions={"ir": "find", "query": "ask", "document": "tell"})).named_prefixes()
    assert (named["query"], named["document"]) == ("Instruct: find\nQuery: ", "passage: ")


@pytest.mark.parametrize(
    "other",
    [
        {"template": "{instruction}: "},
        {"document_prefix": ""},
        {"in_pooling": False},
        {"instructions": {"ir": "find", "sts": "", "news": "find old news"}},
        {"instructions": {"ir": "find", "sts": ""}},
    ],
)
def test_the_digest_changes_with_every_setting(other: dict[str, Any]) -> None:
    assert PromptBook(params(**other)).digest() != PromptBook(params()).digest()


def test_the_digest_of_texts_changes_with_what_alters_a_text_alone() -> None:
    digest = PromptBook(params()).text_digest()
    assert PromptBook(params(in_pooling=False)).text_digest() == digest
    assert PromptBook(params(document_prefix="")).text_digest() != digest


def test_the_digest_does_not_depend_on_the_order_of_instructions() -> None:
    turned = {"news": "find news", "sts": "", "ir": "find"}
    assert PromptBook(params(instructions=turned)).digest() == PromptBook(params()).digest()
