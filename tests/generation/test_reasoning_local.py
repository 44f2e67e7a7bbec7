"""Local models that reason first: what is taken off, where answers stop, what is an error."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TEMPLATE, make_llama, make_tokenizer
from transformers import PreTrainedTokenizerFast

from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.records import Example, Prediction
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.generation.decode import Completion, Decoding, generate
from ste_ray.generation.model import Loading, LocalModel, load_model
from ste_ray.generation.predict import Predictor

CALL = 'Action: add\nAction Input: {"a": 1}'
DRAFT = 'Hm.\nAction: some_tool\nAction Input: {"b": 2}\nObservation: maybe 3'
OPENING = TEMPLATE.replace("<assistant>{% endif %}", "<assistant><think>\n{% endif %}")
SWITCHED = TEMPLATE.replace(
    "<assistant>{% endif %}",
    "<assistant>{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}",
)


class Says:
    """Stands in for the weights: continues every prompt with one text, token by token."""

    def __init__(self, token_ids: list[int]) -> None:
        self._token_ids = token_ids

    def generate(
        self, input_ids: torch.Tensor, generation_config: Any, stopping_criteria: Any, **_: Any
    ) -> torch.Tensor:
        for token in self._token_ids[: generation_config.max_new_tokens]:
            column = torch.full((len(input_ids), 1), token)
            input_ids = torch.cat([input_ids, column], dim=1)
            if bool(stopping_criteria(input_ids, None).all()):
                break
        return input_ids


def saying(
    model: LocalModel, text: str, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any
) -> LocalModel:
    tokenizer = tokenizer or model.tokenizer
    ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    return dataclasses.replace(model, model=Says(ids), tokenizer=tokenizer, layout=None, **changes)


def complete(model: LocalModel, **decoding: Any) -> Completion:
    prompt = model.tokenizer.encode("4")
    (found,) = generate(model, [prompt], Decoding(**{"max_new_tokens": 400, **decoding}))
    return found


def test_a_draft_within_the_reasoning_ends_nothing(random_model: LocalModel) -> None:
    text = f"<think>\n{DRAFT}\n</think>\n\n{CALL}\nObservation: invented"
    found = complete(saying(random_model, text))
    assert (found.text, found.reasoning, found.error) == (CALL, DRAFT, "")
    assert 0 < found.reasoning_tokens < found.num_tokens
    assert "invented" not in found.text
    # Neither where the prompt has opened the block.
    found = complete(saying(random_model, f"{DRAFT}\n</think>\n\n{CALL}"), opened=True)
    assert (found.text, found.reasoning, found.error) == (CALL, DRAFT, "")


def test_an_answer_cut_within_its_reasoning_says_what_to_raise(random_model: LocalModel) -> None:
    model = saying(random_model, f"<think>\n{DRAFT}\n</think>\n\n{CALL}")
    found = complete(model, max_new_tokens=20)
    assert (found.text, found.num_tokens) == ("", 20)
    assert "cut at 20 tokens within its reasoning; raise infer.max_new_tokens" in found.error
    assert found.reasoning.startswith("Hm.")
    model = saying(random_model, DRAFT)
    found = complete(model, max_new_tokens=20, opened=True)
    assert "within its reasoning" in found.error
    ended = complete(saying(random_model, "<think>that was all"))
    assert ended.error == "the answer ended within its reasoning, before any call or final answer"


def test_special_tokens_that_mark_reasoning_are_seen(random_model: LocalModel) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]", "<|x|>"]})
    text = f"[THINK]{DRAFT}[/THINK]<|x|>{CALL}"
    found = complete(saying(random_model, text, tokenizer))
    assert (found.text, found.reasoning) == (CALL, DRAFT)


MATERIAL = PromptMaterial(
    specs={
        "add": ToolSpec(
            name="add", description="d", parameters={}, executor={"kind": "python", "target": "m:f"}
        )
    },
    demonstrations={},
    prompts=PromptSet(dict.fromkeys(REQUIRED_PROMPTS, "p")),
)
EXAMPLE = Example(
    example_id="e",
    group_id="g",
    trial_id="t",
    tool="add",
    query="q",
    origin="explored",
    arguments_json='{"a":1}',
    observation="",
    final_answer="",
    split="test",
)


def predict(model: LocalModel, max_new_tokens: int = 200, constrained: bool = False) -> Prediction:
    setting = parse_settings(["base/plain"])[0]
    decoding = Decoding(max_new_tokens=max_new_tokens)
    predictor = Predictor(model, setting, MATERIAL, decoding, constrained)
    queries = [Query(example=EXAMPLE)]
    (found,) = predictor.answer(queries, predictor.prompts(queries))
    return found.prediction


def test_a_prediction_keeps_the_reasoning_apart(random_model: LocalModel) -> None:
    found = predict(saying(random_model, f"<think>{DRAFT}</think>{CALL}"))
    assert (found.output_text, found.reasoning, found.error) == (CALL, DRAFT, "")
    assert found.reasoning_tokens > 0


def test_the_end_of_the_prompt_tells_whether_reasoning_is_open(random_model: LocalModel) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = OPENING
    found = predict(saying(random_model, DRAFT, tokenizer), max_new_tokens=20)
    assert found.error.startswith("the answer was cut at 20 tokens within its reasoning")
    # A model that was trained here answers at once, whatever its prompts end in.
    trained = saying(random_model, CALL, tokenizer, answers_at_once=True)
    assert (predict(trained).output_text, predict(trained).error) == (CALL, "")
    # So does one that comes to its own end without any closing tag.
    plain = predict(saying(random_model, CALL, tokenizer))
    assert (plain.output_text, plain.error) == (CALL, "")


@pytest.fixture
def switched_folder(tmp_path: Path) -> Path:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = SWITCHED
    make_llama(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def shown(model: LocalModel) -> str:
    messages = [{"role": "user", "content": "q"}]
    text = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return str(text)


def test_template_options_reach_the_prompts(switched_folder: Path) -> None:
    assert shown(load_model(switched_folder)).endswith("<assistant>")
    quiet = load_model(switched_folder, Loading(template_options={"enable_thinking": False}))
    assert shown(quiet).endswith("<assistant><think>\n\n</think>\n\n")
    assert not quiet.answers_at_once
    (switched_folder / "toolkens.json").write_text(json.dumps({"tools": {}, "retired": []}))
    assert load_model(switched_folder).answers_at_once
