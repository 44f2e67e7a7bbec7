"""Tiny models: one with random weights, one that has learnt to write calls by heart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ste_ray.generation.model import LocalModel, load_model

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
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*LESSONS, *LESSONS.values()] * 3, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        chat_template=TEMPLATE,
    )
    wrapped.add_tokens(["<tool_add>", "<tool_say>"])
    return wrapped


def make_llama(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


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
    rows = [
        [tokenizer.bos_token_id, *tokenizer.encode(prompt), *tokenizer.encode(answer)]
        for prompt, answer in LESSONS.items()
    ]
    width = max(map(len, rows)) + 1
    batch = torch.full((len(rows), width), tokenizer.eos_token_id)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = torch.tensor(row)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("taught")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_model(folder)


@pytest.fixture(scope="session")
def lessons() -> dict[str, str]:
    return LESSONS
