"""Prompts: the chat format, and what is left out when the model has too few positions."""

from __future__ import annotations

import dataclasses

import pytest
from transformers import PreTrainedTokenizerFast

from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.records import Example, Message
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.generation.prompting import (
    Prompt,
    PromptTooLongError,
    encode_dialog,
    fitted_prompt,
)

PROMPTS = PromptSet({name: name for name in REQUIRED_PROMPTS} | {"act_system_retrieved": "$tools"})
TOOLS = [
    ToolSpec(
        name=f"tool{i}",
        description=f"does {i}",
        parameters={},
        executor={"kind": "python", "target": "m:f"},
    )
    for i in range(4)
]
DEMONSTRATIONS = [
    Example(
        example_id=f"e{i}",
        group_id=f"g{i}",
        trial_id="t",
        tool="tool0",
        query=f"demonstration {i} of some length",
        origin="explored",
        arguments_json='{"number": 1}',
        observation="",
        final_answer="",
        split="train",
    )
    for i in range(3)
]
DIALOG = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hi"),
    Message(role="assistant", content="Yes?"),
    Message(role="user", content="Why?"),
]


MATERIAL = PromptMaterial(
    specs={tool.name: tool for tool in TOOLS},
    demonstrations={example.example_id: example for example in DEMONSTRATIONS},
    prompts=PROMPTS,
)


def asked(text: str) -> Query:
    return Query(
        example=DEMONSTRATIONS[0].model_copy(update={"query": text, "split": "test"}),
        tools=tuple(tool.name for tool in TOOLS),
        demonstrations=tuple(example.example_id for example in DEMONSTRATIONS),
    )


def build(
    tokenizer: PreTrainedTokenizerFast,
    max_tokens: int | None,
    material: PromptMaterial = MATERIAL,
) -> Prompt:
    return fitted_prompt(
        asked("the query"), Setting("base", "icl"), material, tokenizer, max_tokens
    )


def build_toolken(text: str, tokenizer: PreTrainedTokenizerFast, max_tokens: int | None) -> Prompt:
    return fitted_prompt(asked(text), Setting("tuned", "toolken"), MATERIAL, tokenizer, max_tokens)


def test_everything_stands_in_a_prompt_without_limit(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = build(tokenizer, None)
    text = tokenizer.decode(prompt.token_ids)
    assert prompt.tools == ("tool0", "tool1", "tool2", "tool3")
    assert (prompt.tools_left_out, prompt.demonstrations_left_out) == (0, 0)
    # The most similar demonstration stands last, next to the query.
    places = [text.index(f"demonstration {i}") for i in (2, 1, 0)]
    assert places == sorted(places)
    assert places[-1] < text.index("the query")
    assert text.endswith("<user>the query<assistant>")


def test_the_most_similar_demonstration_may_stand_first(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    material = dataclasses.replace(MATERIAL, nearest_last=False)
    text = tokenizer.decode(build(tokenizer, None, material).token_ids)
    places = [text.index(f"demonstration {i}") for i in (0, 1, 2)]
    assert places == sorted(places)


def test_tools_are_left_out_before_demonstrations_and_no_more_than_needed(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    full = len(build(tokenizer, None).token_ids)
    seen: list[int] = []
    limit = full
    while True:
        try:
            prompt = build(tokenizer, limit)
        except PromptTooLongError:
            break
        assert len(prompt.token_ids) <= limit
        left_out = prompt.demonstrations_left_out + prompt.tools_left_out
        seen.append(left_out)
        text = tokenizer.decode(prompt.token_ids)
        shown = 3 - prompt.demonstrations_left_out
        assert all((f"demonstration {i}" in text) == (i < shown) for i in range(3))
        assert prompt.tools == tuple(f"tool{i}" for i in range(4 - prompt.tools_left_out))
        assert prompt.demonstrations_left_out == 0 or prompt.tools_left_out == 3
        # One token less than this prompt needs leaves out exactly one thing more.
        limit = len(prompt.token_ids) - 1
    assert seen == [0, 1, 2, 3, 4, 5, 6]


def test_a_prompt_that_never_fits_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(PromptTooLongError, match="10 are allowed"):
        build(tokenizer, 10)
    with pytest.raises(PromptTooLongError, match="3 are allowed"):
        build_toolken("the query", tokenizer, 3)


def test_toolken_prompt_holds_the_query_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = build_toolken("call <tool_add>!", tokenizer, 200)
    assert tokenizer.decode(prompt.token_ids) == (
        "<bos><system>act_system<user>call <tool\\_add>!<assistant>"
    )
    assert tokenizer.convert_tokens_to_ids("<tool_add>") not in prompt.token_ids
    assert prompt.tools == ()


def test_a_tokenizer_without_template_gets_the_form_of_llama_2(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    assert text_with_template(tokenizer, None) == (
        "<bos>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Yes? <eos>[INST] Why? [/INST]"
    )


def test_a_template_that_refuses_the_system_role_sees_it_in_the_first_message(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }};{% endfor %}"
    )
    assert text_with_template(tokenizer, template) == (
        "user: Be brief.\n\nHi;assistant: Yes?;user: Why?;"
    )


def text_with_template(tokenizer: PreTrainedTokenizerFast, template: str | None) -> str:
    before = tokenizer.chat_template
    try:
        tokenizer.chat_template = template
        return str(tokenizer.decode(encode_dialog(DIALOG, tokenizer)))
    finally:
        tokenizer.chat_template = before
