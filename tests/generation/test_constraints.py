"""Constrained decoding: whatever a model would write, it is a call that fits a tool's schema."""

from __future__ import annotations

import copy
import dataclasses
import json

import jsonschema
import pytest

from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.records import Example, Prediction
from ste_ray.core.replies.parsing import ToolCall, parse_action
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.generation.constraints import Constraints
from ste_ray.generation.decode import Decoding, generate
from ste_ray.generation.model import LocalModel
from ste_ray.generation.predict import Predictor

SCHEMAS = {
    "add": {
        "type": "object",
        "properties": {
            "b": {"type": "integer"},
            "a": {"type": "number", "minimum": 0, "maximum": 9},
        },
        "required": ["a", "b"],
    },
    "say": {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "tone": {"enum": ["kind", "curt"]},
            "day": {"type": "string", "format": "date"},
        },
        "required": ["text", "day"],
    },
    "nested one": {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"z": {"type": "boolean"}, "y": {"type": "string"}},
                    "required": ["z", "y"],
                },
                "minItems": 1,
            }
        },
        "required": ["items"],
    },
    'odd%%name "[x] \\ é': {"type": "object", "properties": {}},
    "free": {"type": "object"},
}
MATERIAL = PromptMaterial(
    specs={
        name: ToolSpec(
            name=name,
            description="d",
            parameters=schema,
            executor={"kind": "python", "target": "m:f"},
        )
        for name, schema in SCHEMAS.items()
    },
    demonstrations={},
    prompts=PromptSet({name: name for name in REQUIRED_PROMPTS}),
)


def queries(number: int, *tools: str) -> list[Query]:
    return [
        Query(
            example=Example(
                example_id=f"e{index}",
                group_id="g",
                trial_id="",
                tool="add",
                query=f"do {index * 37} of them, {'please ' * (index % 5)}",
                origin="explored",
                arguments_json="{}",
                observation="",
                final_answer="",
                split="test",
            ),
            tools=tools,
        )
        for index in range(number)
    ]


def answer(
    model: LocalModel,
    setting: str,
    asked: list[Query],
    *,
    constrained: bool = True,
    temperature: float = 0.0,
    max_new_tokens: int = 160,
) -> list[Prediction]:
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature)
    chosen = parse_settings([setting])[0]
    predictor = Predictor(model, chosen, MATERIAL, decoding, constrained)
    return [one.prediction for one in predictor.answer(asked, predictor.prompts(asked))]


def wellformed(predictions: list[Prediction]) -> int:
    """How many are a call of a tool that they could see, with arguments that fit its schema."""
    count = 0
    for prediction in predictions:
        reply = parse_action(prediction.output_text, prediction.candidates)
        if isinstance(reply, ToolCall):
            jsonschema.validate(reply.arguments, SCHEMAS[reply.tool])
            count += 1
    return count


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_a_model_of_random_weights_writes_nothing_but_calls(
    random_model: LocalModel, temperature: float
) -> None:
    asked = queries(24, *SCHEMAS)
    free = answer(random_model, "base/retrieved", asked, constrained=False, temperature=temperature)
    assert wellformed(free) == 0
    bound = answer(random_model, "base/retrieved", asked, temperature=temperature)
    assert [one.error for one in bound] == [""] * 24
    assert wellformed(bound) == 24


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_calls_are_the_same_where_rows_that_have_ended_leave_their_batch(
    random_model: LocalModel, temperature: float
) -> None:
    asked = [*queries(5, "add"), *queries(5, "nested one", "free"), *queries(6, "say")]
    assert random_model.layout is not None
    together = dataclasses.replace(random_model, layout=None)  # all rows stay to the last step
    expected = answer(together, "base/retrieved", asked, temperature=temperature)
    assert len({one.completion_tokens for one in expected}) > 3
    assert answer(random_model, "base/retrieved", asked, temperature=temperature) == expected


def test_each_query_is_bound_to_its_own_candidates(random_model: LocalModel) -> None:
    asked = [*queries(4, "add"), *queries(4, "nested one", "free")]
    predictions = answer(random_model, "base/retrieved", asked, temperature=1.0)
    tools = [parse_action(one.output_text, SCHEMAS).tool for one in predictions]
    assert tools[:4] == ["add"] * 4
    assert set(tools[4:]) <= {"nested one", "free"}


def test_toolkens_are_written_as_one_token_each(random_model: LocalModel) -> None:
    predictions = answer(random_model, "tuned/toolken", queries(12), temperature=2.0)
    assert wellformed(predictions) == 12
    ids = set(random_model.tokenizer.convert_tokens_to_ids(["<tool_add>", "<tool_say>"]))
    for one in predictions:
        tokens = random_model.tokenizer(one.output_text, add_special_tokens=False)["input_ids"]
        assert len(ids & set(tokens)) == 1


def test_what_the_model_knows_it_still_says(taught_model: LocalModel) -> None:
    constraints = Constraints(taught_model, 120)
    grammar = constraints.grammar({"<tool_add>": {"properties": {"a": {"type": "integer"}}}})
    prompt = [taught_model.tokenizer.bos_token_id, *taught_model.tokenizer.encode("one")]
    (bound,) = generate(taught_model, [prompt], Decoding(120), grammars=[grammar])
    assert bound.text == 'Action: <tool_add>\nAction Input: {"a": 1}'


def test_what_the_grammar_cannot_say_is_an_object_of_any_kind(random_model: LocalModel) -> None:
    constraints = Constraints(random_model, 100)
    constraints.grammar({"x": {"type": "object", "properties": {"a": {"not": {"const": 1}}}}})
    assert constraints.loose == {"x"}


def test_too_few_tokens_for_the_shortest_call_are_refused(random_model: LocalModel) -> None:
    with pytest.raises(ConfigError, match="max_new_tokens=12 is too few"):
        answer(random_model, "base/retrieved", queries(1, "add"), max_new_tokens=12)


def test_a_model_may_have_more_logits_than_tokens(random_model: LocalModel) -> None:
    padded = copy.deepcopy(random_model.model)
    padded.resize_token_embeddings(512, mean_resizing=False)
    wide = dataclasses.replace(random_model, model=padded, num_logits=512)
    predictions = answer(wide, "base/retrieved", queries(6, *SCHEMAS), temperature=2.0)
    assert wellformed(predictions) == 6


def test_arguments_stand_in_the_order_that_models_are_trained_in(
    random_model: LocalModel,
) -> None:
    (one, *_) = answer(random_model, "base/retrieved", queries(1, "add"))
    reply = parse_action(one.output_text, SCHEMAS)
    assert list(json.loads(reply.arguments_text)) == ["a", "b"]
