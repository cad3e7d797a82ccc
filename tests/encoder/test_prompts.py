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


@pytest.mark.parametrize(
    ("instructions", "task", "name", "instruction"),
    [
        ({"ir": "find", "sts": ""}, "ir", "anything", "find"),
        ({"ir": "find", "sts": ""}, "sts", "anything", ""),
        ({}, "ir", "anything", ""),
        ({"ir": "find", "news": "find news"}, "ir", "news", "find news"),
        ({"ir": "find", "news": "find news"}, "sts", "news", "find news"),
        ({"ir": "find", "plain": ""}, "ir", "plain", ""),
        ({"ir": "use {x} and {}"}, "ir", "anything", "use {x} and {}"),
    ],
)
def test_a_source_s_own_instruction_goes_before_its_task_s_and_an_empty_one_gives_no_prompt(
    instructions, task, name, instruction
):
    book = PromptBook(params(instructions=instructions))
    assert book.instruction(task, name) == instruction
    assert book.prefix(task, "query", name) == (f"Instruct: {instruction}\nQuery: " if instruction else "")


def test_a_document_bears_the_document_prefix_whatever_the_instruction():
    assert PromptBook(params()).prefix("ir", "document", "news") == "passage: "
    assert PromptBook(params(document_prefix="")).prefix("ir", "document", "news") == ""


def test_named_prefixes_hold_both_tasks_and_every_source_of_its_own_by_role():
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


def test_a_source_that_is_called_like_a_role_does_not_take_its_place():
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
def test_the_digest_changes_with_every_setting(other):
    assert PromptBook(params(**other)).digest() != PromptBook(params()).digest()


def test_the_digest_of_texts_depends_on_what_alters_a_text_alone_and_neither_on_the_order_of_instructions():
    book = PromptBook(params())
    assert PromptBook(params(in_pooling=False)).text_digest() == book.text_digest()
    assert PromptBook(params(document_prefix="")).text_digest() != book.text_digest()
    turned = PromptBook(params(instructions={"news": "find news", "sts": "", "ir": "find"}))
    assert (turned.digest(), turned.text_digest()) == (book.digest(), book.text_digest())
