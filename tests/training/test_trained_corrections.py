"""Corrections as they are trained: no loss on a failed call, in either form of calls."""

from __future__ import annotations

import pytest

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.preparing.formatting import training_rows
from ste_ray.core.preparing.native_rows import native_row
from ste_ray.core.records import FailedCall
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.training.examples import RowTokenizer
from tests.native_templates import BARE, HERMES, MISTRAL_LIST
from tests.training.native_runs import PROMPTS, an_example, form_of, native_tokenizer

FAILED = FailedCall(arguments_json='{"q":"wrong"}', observation="q must be in capitals")


def corrected():
    example = an_example(1).model_copy(update={"failed_calls": (FAILED,)})
    return example, training_rows(example, PROMPTS, tool_responses=True)[2:]


def test_labels_are_the_mended_call_and_the_answer_alone(tokenizer):
    _, rows = corrected()
    for row in rows:
        found = RowTokenizer(tokenizer, 4096).tokenise(row)
        context = tokenizer.decode(found.input_ids[: found.prompt_tokens])
        assert '{"q":"wrong"}' in context
        assert FAILED.observation in context
        labels = tokenizer.decode(found.input_ids[found.prompt_tokens :])
        assert labels == row.response + tokenizer.eos_token


@pytest.mark.parametrize("template", [None, HERMES, BARE, MISTRAL_LIST])
def test_native_labels_are_the_mended_call_and_the_answer_alone(template):
    tokenizer = native_tokenizer(template)
    chat = NativeChat(tokenizer, name_of=safe_name)
    example, (call, answer) = corrected()
    for row in (call, answer):
        found = RowTokenizer(tokenizer, 4096, native=form_of(tokenizer)).tokenise(row)
        ids = list(found.input_ids)
        context = tokenizer.decode(ids[: found.prompt_tokens])
        assert context.count("wrong") == 1
        assert FAILED.observation in context
        labels = read_reply(tokenizer.decode(ids[found.prompt_tokens :]), chat.facts.form)
        if row is call:
            (made,) = labels.calls
            assert made.arguments_text.replace(" ", "") == example.arguments_json
        else:
            assert (labels.content.strip(), labels.calls) == (example.final_answer, ())
        assert native_row(row, PROMPTS)[2].tool_calls[0].arguments_text == FAILED.arguments_json
