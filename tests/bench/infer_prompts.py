"""Long prompts: what is told of tools once, beside plain loops over ``model.generate``.

``MODEL=folder`` measures a model of one's own in place of a random one, ``SETTINGS="icl"``
some of the prompts, ``REQUESTS=24`` so many requests, six a tool.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tables import Row

from ste_ray.core.inferring.settings import PromptKind, PromptMaterial, Query, Setting
from ste_ray.core.preparing.formatting import call_text
from ste_ray.core.records import Example, canonical_json
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.generation.decode import Decoding, generate
from ste_ray.generation.model import LocalModel, load_model
from ste_ray.generation.prefill import Prefixes
from ste_ray.generation.prompting import fitted_prompt
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.retrieval.encoder import make_encoder
from ste_ray.retrieval.index import RetrievalIndex
from ste_ray.stages.base import load_prompts
from ste_ray.training.config import ModelConfig
from ste_ray.training.export import save_model
from ste_ray.training.model import build_model
from ste_ray.training.tokenizer import train_tokenizer

_KINDS: tuple[PromptKind, ...] = ("retrieved", "icl", "toolken")
_GOALS = {"retrieved": 1.5, "icl": 1.25, "toolken": 1.0}  # beside plain batches
_PER_TOOL = 6
_BATCH = 16
_BATCH_TOKENS = 16_384
_MAX_NEW_TOKENS = 48
_ALONE = 3  # of so many requests one is answered in the loop that answers one by one


def measure(folder: Path, specs: dict[str, ToolSpec]) -> list[Row]:
    """Answer the same prompts in plain loops and as the infer stage does."""
    number = int(os.environ.get("REQUESTS", "48"))
    material, queries = requests(specs, number)
    own = os.environ.get("MODEL")
    model = load_model(Path(own)) if own else random_model(folder, material, queries)
    kinds = os.environ.get("SETTINGS", " ".join(_KINDS)).split()
    return [row for kind in kinds for row in _setting(model, kind, material, queries)]


def _setting(
    model: LocalModel, kind: PromptKind, material: PromptMaterial, queries: list[Query]
) -> list[Row]:
    most = None if model.max_positions is None else model.max_positions - _MAX_NEW_TOKENS
    setting = Setting("tuned" if kind == "toolken" else "base", kind)
    prompts = [
        fitted_prompt(query, setting, material, model.tokenizer, most).token_ids
        for query in queries
    ]
    prefixes = Prefixes(model)
    decoding = Decoding(_MAX_NEW_TOKENS, _BATCH, _BATCH_TOKENS, stop_texts=())

    def shared(some: list[list[int]]) -> list[str]:
        found = generate(model, some, decoding, prefixes=prefixes)
        return [one.text for one in found]

    _plain(model, prompts[:1], 1)  # the first call allocates
    alone, _ = _timed(model, prompts[::_ALONE], lambda some: _plain(model, some, 1))
    batched, expected = _timed(model, prompts, lambda some: _plain(model, some, _BATCH))
    ours, found = _timed(model, prompts, shared)
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    mean = sum(map(len, prompts)) / len(prompts)
    saved = 1 - prefixes.computed_tokens / sum(len(prompt) - 1 for prompt in prompts)
    goal = _GOALS[kind]
    return [
        Row(
            f"`{kind}`, {len(prompts)} prompts of {mean:.0f} tokens: useful tokens a CPU-second"
            f" beside plain batches of {_BATCH}; beside one by one",
            f"{ours / batched:.2f} × ({ours:,.0f} ÷ {batched:,.0f}); {ours / alone:.2f} ×"
            f" (÷ {alone:,.0f}); same text: {same} of {len(prompts)}",
            f"≥ {goal:g} ×, same text",
            ours / batched >= goal and same == len(prompts),
        ),
        Row(f"`{kind}`: tokens of prompts that were not computed again", f"{100 * saved:.0f} %"),
    ]


def _timed(
    model: LocalModel, prompts: list[list[int]], answer: Callable[[list[list[int]]], list[str]]
) -> tuple[float, list[str]]:
    """Return tokens of prompts and answers a CPU-second, and the answers."""
    started = time.process_time()
    texts = answer(prompts)
    seconds = time.process_time() - started
    encoded = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return (sum(map(len, prompts)) + sum(map(len, encoded))) / seconds, texts


def _plain(model: LocalModel, prompts: list[list[int]], size: int) -> list[str]:
    """Answer as the documentation of transformers shows it: batches as they come, padded."""
    texts = []
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        width = max(map(len, batch))
        ids = torch.tensor([[model.pad_token_id] * (width - len(one)) + one for one in batch])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in batch])
        output = model.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=_MAX_NEW_TOKENS,
            eos_token_id=list(model.eos_token_ids),
            pad_token_id=model.pad_token_id,
        )
        texts += model.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    return texts


def requests(specs: dict[str, ToolSpec], number: int) -> tuple[PromptMaterial, list[Query]]:
    """Requests for some tools, six each, with what the retriever finds for them among all."""
    rng = random.Random(0)
    tools = sorted(specs)
    asked = [one for one in tools if specs[one].parameters.get("properties")]
    asked = rng.sample(asked, -(-number // _PER_TOOL))
    training = [_example(specs[name], f"t{name}{n}", rng) for name in tools for n in range(8)]
    tests = [_example(specs[name], f"e{name}{n}", rng) for name in asked for n in range(_PER_TOOL)]
    config = RetrieveConfig(num_tools=5, num_demonstrations=3)
    index = RetrievalIndex(make_encoder(config.encoder), list(specs.values()), training, config)
    tests = sorted(tests[:number], key=lambda one: one.example_id)
    queries = [
        Query(
            example=example,
            tools=tuple(hit.key for hit in found.tools),
            demonstrations=tuple(hit.key for hit in found.demonstrations),
        )
        for example, found in zip(tests, index.retrieve(tests), strict=True)
    ]
    rng.shuffle(queries)
    demonstrations = {example.example_id: example for example in training}
    return PromptMaterial(specs, demonstrations, load_prompts()), queries


def _example(spec: ToolSpec, key: str, rng: random.Random) -> Example:
    names = list(spec.parameters.get("properties", ()))
    arguments = {name: str(rng.randrange(10, 10_000)) for name in names}
    values = " and ".join(f"{name} {value}" for name, value in arguments.items())
    return Example(
        example_id=key,
        group_id=key,
        trial_id="",
        tool=spec.name,
        query=f"{rng.choice(('Please do this', 'I need this', 'Can you'))}: {spec.description}"
        f" With {values}.",
        origin="explored",
        arguments_json=canonical_json(arguments),
        observation="",
        final_answer="",
        split="test",
    )


def random_model(folder: Path, material: PromptMaterial, queries: list[Query]) -> LocalModel:
    """A Llama with random weights and a vocabulary made from the prompts' texts."""
    texts = [query.example.query for query in queries]
    texts += [
        f"{spec.name} {spec.description} {spec.parameters}" for spec in material.specs.values()
    ]
    texts += [call_text(one.example.tool, one.example.arguments_json) for one in queries]
    config = ModelConfig(
        vocab_size=2048, hidden_size=128, num_layers=4, num_heads=4, max_positions=4096
    )
    tokenizer = train_tokenizer(texts, vocab_size=2048, max_positions=4096)
    save_model(build_model(config, tokenizer, seed=0), tokenizer, folder)
    return load_model(folder)
