"""A local model that has learnt a native exchange by heart: asked, executed, answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.config import Config
from ste_ray.core.effects import ToolResult
from ste_ray.core.inferring.answering import call_to_execute
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.preparing.formatting import native_dialog
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet, offered_tool
from ste_ray.core.records import Example, Message, MessageCall, Prediction
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.replies.conversation import assistant_message, result_message
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import LocalModel, load_model
from ste_ray.generation.predict import Predictor
from ste_ray.stages.ask.local import LocalAssistant
from tests.byte_models import byte_llama, byte_tokenizer, learn_by_heart
from tests.native_templates import HERMES

SPEC = ToolSpec(
    name="add up",
    description="Adds.",
    parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    executor={"kind": "python", "target": "m:f"},
)
MATERIAL = PromptMaterial(
    specs={SPEC.name: SPEC},
    demonstrations={},
    prompts=PromptSet({name: "S" for name in (*REQUIRED_PROMPTS, "act_system_native")}),
)
OFFERED = [chat_tool(offered_tool(SPEC), safe_name(SPEC.name))]
EXAMPLE = Example(
    example_id="e",
    group_id="g",
    trial_id="",
    tool=SPEC.name,
    query="Add five",
    origin="explored",
    arguments_json='{"a":5}',
    observation="",
    final_answer="",
    split="test",
)
QUERY = Query(example=EXAMPLE, tools=(SPEC.name,))


def exchange() -> list[Message]:
    """Return request, call, result and answer, behind the system message."""
    call = MessageCall(id="call00001", name=SPEC.name, arguments_text='{"a": 5}')
    return [
        *native_dialog(EXAMPLE.query, (), MATERIAL.prompts),
        assistant_message("", (call,)),
        result_message(call.id, "it is 6"),
        Message(role="assistant", content="Six it is."),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = byte_tokenizer([json.dumps(OFFERED)] * 3, 360, HERMES, ends=("<s>", "</s>"))
    marks = ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
    tokenizer.add_tokens([AddedToken(one, special="im_" in one) for one in marks])
    chat = NativeChat(tokenizer, name_of=safe_name)
    examples = [chat.example(exchange()[:number], OFFERED) for number in (3, 5)]
    model = byte_llama(tokenizer, num_layers=1)
    rows = [(one.input_ids, one.is_label) for one in examples]
    learn_by_heart(model, rows, learning_rate=5e-3)
    target = tmp_path_factory.mktemp("natively-taught")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def taught(folder: Path) -> LocalModel:
    return load_model(folder)


@pytest.mark.parametrize("constrained", [False, True])
def test_what_was_taught_as_labels_is_called_executed_and_answered(
    taught: LocalModel, constrained: bool
) -> None:
    if constrained:
        pytest.importorskip("llguidance")
    (setting,) = parse_settings(["tuned/native"])
    asking = Predictor(taught, setting, MATERIAL, Decoding(120), constrained)
    (answered,) = asking.answer([QUERY], asking.prompts([QUERY]))
    found = answered.prediction
    assert [(one.name, one.arguments_text) for one in found.calls] == [("add up", '{"a": 5}')]
    assert (found.output_text, found.output_cut, found.oddities) == ("", False, ())
    assert score_prediction(found, MATERIAL.specs).outcome == "correct"
    made = call_to_execute(found, MATERIAL.specs)
    assert made is not None
    assert made.arguments_json == '{"a":5}'
    (concluded,) = asking.conclude([answered], {0: ToolResult(status="ok", text="it is 6")})
    assert (concluded.final_answer, concluded.final_cut) == ("Six it is.", False)
    assert concluded.oddities == ()
    assert concluded.prompt_tokens == answered.prediction.prompt_tokens
    assert concluded.final_prompt_tokens > concluded.prompt_tokens


def test_ask_asks_it_likewise(taught: LocalModel) -> None:
    (setting,) = parse_settings(["tuned/native"])
    config = Config.model_validate({"infer": {"max_new_tokens": 120}})
    assistant = LocalAssistant(taught, setting, MATERIAL, config)

    async def ask() -> Prediction:
        async with assistant.opened():
            reply = await assistant.reply(QUERY)
            return await reply.conclude(ToolResult(status="ok", text="it is 6"))

    found = asyncio.run(ask())
    assert [one.name for one in found.calls] == ["add up"]
    assert found.final_answer == "Six it is."
