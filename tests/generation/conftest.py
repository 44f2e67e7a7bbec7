"""Tiny models: one with random weights, one that has learnt to write calls by heart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ste_ray.generation.model import LocalModel, load_model
from tests.byte_models import answer_row, byte_llama, byte_tokenizer, learn_by_heart

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
# What the taught model continues each prompt with, up to EOS.
LESSONS = {
    "one": 'Action: <tool_add>\nAction Input: {"a": 1}\nObservation: 2\nThought: so on',
    "a longer second prompt": 'Action: <tool_say>\nAction Input: {"text": "Observation of it"}',
    "the third of all the prompts": "Final Answer: é is done. Observation: none at all",
    "4": "no",
}
TextModel = Callable[..., LocalModel]


def make_tokenizer(vocab_size: int = 400) -> PreTrainedTokenizerFast:
    wrapped = byte_tokenizer([*LESSONS, *LESSONS.values()] * 3, vocab_size, TEMPLATE)
    wrapped.add_tokens(["<tool_add>", "<tool_say>"])
    return wrapped


def make_llama(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    return byte_llama(tokenizer, positions=256, seed=seed)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def random_folder(
    tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("random")
    make_llama(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def random_model(random_folder: Path) -> LocalModel:
    return load_model(random_folder)


@pytest.fixture(scope="session", params=[262, 400], ids=["bytes", "words"])
def taught_model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> LocalModel:
    """A model that knows ``LESSONS`` by heart, with tokens of bytes and with tokens of words."""
    tokenizer = make_tokenizer(request.param)
    model = make_llama(tokenizer)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    rows = [
        answer_row([bos, *tokenizer.encode(prompt)], [*tokenizer.encode(answer), eos])
        for prompt, answer in LESSONS.items()
    ]
    learn_by_heart(model, rows)
    folder = tmp_path_factory.mktemp("taught")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_model(folder)


@pytest.fixture(scope="session")
def lessons() -> dict[str, str]:
    return LESSONS
