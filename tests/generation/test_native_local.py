"""Native calls of local models, in the form of their own chat template."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any

import jsonschema
import pytest
import torch
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.chat_tokens.native.template_tools import tools_of
from ste_ray.core.effects import ToolResult
from ste_ray.core.inferring.reading import read_prediction
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.native_calls.form import WrittenCall
from ste_ray.core.native_calls.writing import write_calls
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.records import Example, Prediction
from ste_ray.core.replies.parsing import FinalAnswer, ParseFailure, ToolCall
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError, ToolTemplateError
from ste_ray.generation.closing_tokens import ClosingTokens
from ste_ray.generation.decode import Decoding
from ste_ray.generation.key_values import key_value_layout
from ste_ray.generation.model import LocalModel
from ste_ray.generation.native import NativeCalling
from ste_ray.generation.predict import AnsweredQuery, Predictor
from ste_ray.generation.stopping import StopOnText
from tests.byte_models import byte_llama, byte_tokenizer
from tests.native_templates import NO_TOOLS, SHAPES, SILENT

MARKS = {
    "hermes": ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"],
    "thinking": ["<|im_start|>", "<|im_end|>", "<think>", "</think>"],
    "bare": ["<|im_start|>", "<|im_end|>"],
    "mistral list": ["[TOOL_CALLS]", "[INST]", "[/INST]"],
    "mistral args": ["[TOOL_CALLS]", "[ARGS]", "[INST]", "[/INST]"],
    "gemma": [
        *("<start_of_turn>", "<end_of_turn>", "<start_function_call>", "<end_function_call>"),
        *("<escape>", "<start_function_response>"),
    ],
    "channels": ["<|start|>", "<|message|>", "<|channel|>", "<|call|>", "<|end|>", "<|return|>"],
    "fenced": [
        *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>"),
        *("<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<｜end▁of▁sentence｜>", "<｜Assistant｜>"),
    ],
    "elements": ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"],
    "keywords": ["<|im_start|>", "<|im_end|>"],
}
ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "how": {"enum": ["soft", "hard"]}},
    "required": ["a"],
}
SAY = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "loud": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["text"],
}
SPECS = {
    name: ToolSpec(
        name=name,
        description=f"It does {name}.",
        parameters=schema,
        executor={"kind": "python", "target": "m:f"},
    )
    for name, schema in {"add up": ADD, "say": SAY, "other": {"type": "object"}}.items()
}


def example(number: int, query: str) -> Example:
    return Example(
        example_id=f"e{number}",
        group_id=f"g{number}",
        trial_id="t",
        tool="add up",
        query=query,
        origin="explored",
        arguments_json='{"a":1}',
        observation="it was 2",
        final_answer="Two.",
        split="test",
    )


MATERIAL = PromptMaterial(
    specs=SPECS,
    demonstrations={f"e{i}": example(i, f"demonstration {i}") for i in (1, 2)},
    prompts=PromptSet({name: name for name in (*REQUIRED_PROMPTS, "act_system_native")}),
)
ONE = ("add up", {"a": 5})


def query(number: int = 7, text: str = "add") -> Query:
    return Query(
        example=example(number, text), tools=("say", "add up"), demonstrations=("e2", "e1")
    )


def make_tokenizer(template: str, marks: list[str]) -> PreTrainedTokenizerFast:
    texts = ["Tools and the arguments of them"] * 3
    found = byte_tokenizer(texts, 300, template, ends=("<s>", "</s>"))
    # As in many tokenizers, the tags of calls are tokens and not special.
    found.add_tokens([AddedToken(one, special="tool_call>" not in one) for one in marks])
    return found


@cache
def made(shape: str, template: str = "", with_marks: bool = True) -> LocalModel:
    tokenizer = make_tokenizer(template or SHAPES[shape], MARKS[shape] if with_marks else [])
    model = byte_llama(tokenizer, width=32, num_layers=1, positions=4096).eval()
    return LocalModel(
        model=model,
        tokenizer=tokenizer,
        device=torch.device("cpu"),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_ids=(tokenizer.eos_token_id,),
        max_positions=4096,
        num_logits=len(tokenizer),
    )


def predictor(
    model: LocalModel,
    setting: str = "base/native",
    constrained: bool = False,
    max_new_tokens: int = 200,
    **material: Any,
) -> Predictor:
    (parsed,) = parse_settings([setting])
    made_of = dataclasses.replace(MATERIAL, **material)
    return Predictor(model, parsed, made_of, Decoding(max_new_tokens), constrained)


def asked(asking: Predictor, *queries: Query) -> list[AnsweredQuery]:
    return asking.answer(queries, asking.prompts(queries))


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let models write given texts, token by token as their tokenizer has them."""

    def given(*texts: str) -> list[list[int]]:
        shown: list[list[int]] = []
        left = list(texts)

        def decode_rows(model: LocalModel, prompts: Any, *others: Any) -> list[list[int]]:
            shown.extend(prompts)
            return [
                model.tokenizer(left.pop(0), add_special_tokens=False)["input_ids"] for _ in prompts
            ]

        monkeypatch.setattr("ste_ray.generation.decode.decode_rows", decode_rows)
        return shown

    return given


def written(shape: str, *calls: tuple[str, dict[str, Any]]) -> str:
    """Return a reply with calls as the template of a shape writes it, behind its prompt."""
    form = tools_of(made(shape).tokenizer).form
    found = [
        WrittenCall(name=safe_name(name), arguments_text=json.dumps(one), id=f"abcdefgh{n}")
        for n, (name, one) in enumerate(calls)
    ]
    return (write_calls(found, form) + form.end_of_turn)[len(form.started) :]


def call_of(prediction: Prediction) -> ToolCall | FinalAnswer | ParseFailure:
    return read_prediction(prediction, SPECS)


@pytest.mark.parametrize("shape", MARKS)
def test_a_reply_in_the_form_of_the_template_is_a_call(shape: str, write: Any) -> None:
    asking = predictor(made(shape))
    shown = write(written(shape, ONE))
    (answered,) = asked(asking, query())
    found = answered.prediction
    (call,) = found.calls
    assert (found.native, found.error, found.oddities) == (True, "", ())
    assert (call.name, json.loads(call.arguments_text)) == ("add up", {"a": 5})
    assert call.id
    assert found.output_text == ""
    assert found.candidates == ("say", "add up")
    text = made(shape).tokenizer.decode(shown[0])
    # Tools go by their safe names, and no other one is offered.
    assert "other" not in text
    if shape not in ("elements", "keywords"):
        assert safe_name("add up") in text


@pytest.mark.parametrize("shape", MARKS)
def test_what_a_call_returned_goes_back_as_the_tools_message(shape: str, write: Any) -> None:
    asking = predictor(made(shape))
    final = "It is 6." if shape != "channels" else "<|channel|>final<|message|>It is 6.<|return|>"
    shown = write(written(shape, ONE), final)
    answered = asked(asking, query())
    (found,) = asking.conclude(answered, {0: ToolResult(status="ok", text="returned 6")})
    assert (found.final_answer, found.final_error) == ("It is 6.", "")
    assert (found.observation, found.observation_status) == ("returned 6", "ok")
    text = made(shape).tokenizer.decode(shown[1])
    reply = tools_of(made(shape).tokenizer).form.started + written(shape, ONE)
    assert "returned 6" in text.partition(reply.strip()[:20])[2]
    before = answered[0].prediction
    assert (found.prompt_tokens, found.completion_tokens) == (
        before.prompt_tokens, before.completion_tokens
    )  # fmt: skip
    assert found.final_prompt_tokens == len(shown[1])
    assert found.final_completion_tokens > 0


def test_prompts_offer_candidates_all_tools_and_demonstrations() -> None:
    model = made("hermes")

    def prompt(setting: str) -> Any:
        (found,) = predictor(model, setting).prompts([query()])
        return found, model.tokenizer.decode(found.token_ids)

    (native, text), (_, every), (icl, shown) = map(
        prompt, ("base/native", "tuned/native_plain", "base/native_icl")
    )
    assert native.tools == icl.tools == ("say", "add up")
    assert "other" in every
    assert "other" not in text
    assert text.startswith("<|im_start|>system\nact_system_native")
    assert text.endswith("<|im_start|>user\nadd<|im_end|>\n<|im_start|>assistant\n")
    # The nearest demonstration stands last: request, call, result, answer.
    call = (
        f'<tool_call>\n{{"name": "{safe_name("add up")}", "arguments": {{"a": 1}}}}\n</tool_call>'
    )
    turns = ["demonstration 1", "demonstration 2", call, "it was 2", "Two.", "add<|im_end|>"]
    places = [shown.rindex(turn) for turn in turns]
    assert places == sorted(places)


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    model = made("hermes")
    (full,) = predictor(model, "base/native_icl").prompts([query()])
    for spare, (tools, demonstrations) in ((1, (1, 0)), (len(full.token_ids) // 2, (1, 2))):
        room = len(full.token_ids) + 200 - spare
        tight = dataclasses.replace(model, max_positions=room)
        (found,) = predictor(tight, "base/native_icl").prompts([query()])
        assert (found.tools_left_out, found.demonstrations_left_out) == (tools, demonstrations)
        assert found.tools == ("say",)
    tight = dataclasses.replace(model, max_positions=230)
    (refused,) = predictor(tight, "base/native_icl").prompts([query()])
    assert "no prompt: the prompt has" in refused


@pytest.mark.parametrize(
    ("text", "kind", "odd"),
    [
        ('<tool_call>\n{"name": "say", "arguments": {"text": "a"', "unreadable_call", True),
        ('{"name": "say", "arguments": {"text": "a"}}<|im_end|>', "call_in_text", True),
        (written("hermes", ONE, ("add up", {"a": 6})), "several_calls", False),
        (written("hermes", ("none such", {})), "unknown_tool", False),
        (written("hermes", ONE).replace("5", "5,"), "unreadable_call", True),
        ("<|im_end|>", "empty", False),
    ],
)
def test_what_is_no_call_is_told_as_for_endpoints(
    text: str, kind: str, odd: bool, write: Any
) -> None:
    asking = predictor(made("hermes"))
    write(text)
    (answered,) = asked(asking, query())
    found = call_of(answered.prediction)
    assert isinstance(found, ParseFailure)
    assert found.kind == kind
    assert bool(answered.prediction.oddities) == odd
    if kind == "unreadable_call":
        # What was written is kept, and what was wrong with it.
        assert answered.prediction.output_text == text.removesuffix("<|im_end|>\n")
        assert "call 1" in found.message


def test_a_call_that_is_cut_is_no_call(write: Any) -> None:
    text = written("hermes", ONE)[:30]
    model = made("hermes")
    number = len(model.tokenizer(text, add_special_tokens=False)["input_ids"])
    asking = predictor(model, max_new_tokens=number)
    write(text)
    (answered,) = asked(asking, query())
    assert answered.prediction.output_cut
    found = call_of(answered.prediction)
    assert isinstance(found, ParseFailure)
    assert found.kind == "cut_call"


def test_an_answer_without_a_call_is_one(write: Any) -> None:
    asking = predictor(made("hermes"))
    write("It is warm.<|im_end|>")
    (answered,) = asked(asking, query())
    assert call_of(answered.prediction) == FinalAnswer("", "It is warm.")


def test_reasoning_is_kept_apart_and_a_call_within_it_is_none(write: Any) -> None:
    asking = predictor(made("thinking"))
    thought = f"I might {written('thinking', ('say', {'text': 'no'}))[:40]}"
    write(f"<think>\n{thought}\n</think>\n\n{written('thinking', ONE)}", "<think>\nall of it")
    (answered,) = asked(asking, query())
    found = answered.prediction
    assert [one.name for one in found.calls] == ["add up"]
    assert found.reasoning.startswith("I might")
    assert 0 < found.reasoning_tokens < found.completion_tokens
    (cut,) = asking.conclude([answered], {0: ToolResult(status="ok", text="2")})
    assert "within its reasoning" in cut.final_error


def test_a_final_answer_calls_nothing_any_more(write: Any) -> None:
    asking = predictor(made("hermes"))
    write(written("hermes", ONE), written("hermes", ONE))
    answered = asked(asking, query())
    (found,) = asking.conclude(answered, {0: ToolResult(status="ok", text="2")})
    assert [(one.kind, one.reply_index) for one in found.oddities] == [("uncalled_for", 1)]
    assert found.final_answer == ""
    assert "calls again" in found.final_error
    assert isinstance(call_of(found), ToolCall)
    write(f"I look again. {written('bare', ONE)}")
    (found,) = asking.conclude(answered, {0: ToolResult(status="ok", text="2")})
    assert [(one.kind, one.reply_index) for one in found.oddities] == [("call_in_text", 1)]
    assert "calls again" in found.final_error


@pytest.mark.parametrize(
    "before", ["I look it up. {}", "Sure!\n{}", "functools[{}]", "```json\n{}\n```", "{}"]
)
def test_a_call_that_stands_bare_in_other_text_is_no_answer(write: Any, before: str) -> None:
    asking = predictor(made("bare"))
    write(before.format(written("bare", ONE)))
    (answered,) = asked(asking, query())
    found = call_of(answered.prediction)
    if before == "{}":
        assert isinstance(found, ToolCall)
    else:
        assert isinstance(found, ParseFailure)
        assert found.kind == "call_in_text"


def test_a_template_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ToolTemplateError) as told:
        predictor(made("hermes", SILENT))
    message = str(told.value)
    assert message.startswith("setting 'base/native': the chat template")
    assert "base/retrieved" in message
    assert "\n" not in message


def test_a_template_that_knows_no_tools_gives_way_to_the_one_of_training() -> None:
    model, trained = made("hermes", NO_TOOLS), made("hermes", NO_TOOLS).tokenizer
    (prompt,) = predictor(model).prompts([query()])
    assert '"name": "say"' in model.tokenizer.decode(prompt.token_ids)
    give_tools(trained)
    assert model.tokenizer.chat_template == trained.chat_template


def test_calls_are_required_only_of_models_that_are_bound_to_them() -> None:
    with pytest.raises(ConfigError, match=r"'base/native'; set infer\.constrained=true"):
        predictor(made("hermes"), tool_choice="required")
    predictor(made("hermes"), tool_choice="required", constrained=True)


BOUND = ["hermes", "bare", "mistral list", "mistral args", "gemma", "channels", "fenced"]


@pytest.mark.parametrize("shape", [*BOUND, "elements", "keywords"])
def test_a_model_of_random_weights_writes_nothing_but_calls(shape: str) -> None:
    pytest.importorskip("llguidance")
    asking = predictor(made(shape), constrained=True, max_new_tokens=260)
    queries = [query(number, f"do {number * 37} of them") for number in range(4)]
    for answered in asked(asking, *queries):
        found = answered.prediction
        call = call_of(found)
        assert isinstance(call, ToolCall), (found.output_text, found.oddities)
        jsonschema.validate(call.arguments, SPECS[call.tool].parameters)
        assert (len(found.calls), found.output_cut) == (1, False)


def test_a_bare_key_is_ended_before_it_grows() -> None:
    model = made("gemma")
    colon, zero = model.tokenizer.convert_tokens_to_ids([":", "0"])
    allowed = torch.zeros(model.num_logits, dtype=torch.bool)
    allowed[[colon, zero]] = True
    for left in (2, 3):
        assert ClosingTokens(model, "<").among(allowed, left).nonzero().tolist() == [[colon]]


def test_arguments_as_json_in_a_text_have_no_grammar() -> None:
    pytest.importorskip("llguidance")
    asking = predictor(made("hermes", SHAPES["nested"]), constrained=True)
    with pytest.raises(ConfigError, match="cannot bind native calls"):
        asked(asking, query())


def test_where_no_token_ends_a_reply_its_text_does() -> None:
    model = made("hermes", with_marks=False)
    (parsed,) = parse_settings(["base/native"])
    form = NativeCalling(model, parsed, MATERIAL).decoding
    assert form.stop_texts == ("<|im_end|>",)
    call = written("hermes", ("say", {"text": "a <|im_end|> b"})).rstrip()
    text = f"{call}\n<|im_start|>user\nmore"
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    stop = StopOnText(model.tokenizer, 1, (), native=form)
    for length in range(1, len(ids) + 1):
        if bool(stop(torch.tensor([[0, *ids[:length]]]), None)[0]):
            break
    # The mark within the argument ended nothing; that behind the call did.
    assert model.tokenizer.decode(ids[:length]) == call


def test_prompts_share_their_beginning() -> None:
    model = made("hermes")
    model = dataclasses.replace(model, layout=key_value_layout(model.model))
    asking = predictor(model, "base/native_plain", max_new_tokens=2)
    queries = [query(number, f"{number} of them") for number in range(4)]
    prompts = asking.prompts(queries)
    asking.batches(prompts)
    asking.answer(queries, prompts)
    whole = sum(len(one.token_ids) for one in prompts if not isinstance(one, str))
    assert asking._prefixes.computed_tokens < whole / 2
