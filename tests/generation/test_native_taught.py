"""A local model that has learnt a native exchange by heart: asked, executed, answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ste_ray.chat_tokens.native_chat import NativeChat
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
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>", "<s>", "</s>"],
        show_progress=False,
    )
    backend.train_from_iterator([json.dumps(OFFERED)] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    marks = ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
    tokenizer.add_tokens([AddedToken(one, special="im_" in one) for one in marks])
    tokenizer.chat_template = HERMES
    chat = NativeChat(tokenizer, name_of=safe_name)
    examples = [chat.example(exchange()[:number], OFFERED) for number in (3, 5)]
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=1024,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    width = max(len(one.input_ids) for one in examples)
    ids = torch.zeros((2, width), dtype=torch.long)
    labels = torch.full((2, width), -100)
    for row, one in enumerate(examples):
        own = torch.tensor(one.input_ids)
        ids[row, : len(own)] = own
        labels[row, : len(own)] = own.where(torch.tensor(one.is_label), torch.tensor(-100))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(200):
        loss = model(input_ids=ids, labels=labels).loss
        if loss.item() < 0.02:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
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
    assert concluded.prompt_tokens > 2 * answered.prediction.prompt_tokens


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
