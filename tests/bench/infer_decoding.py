"""Queries a second in batches beside one by one, and calls that are well formed by constraint."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import infer_prompts
import torch
from tables import Row

from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting
from ste_ray.core.preparing.formatting import call_text
from ste_ray.core.records import Example, Prediction, canonical_json
from ste_ray.core.replies.parsing import ToolCall, parse_action
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import toolken
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import LocalModel, load_model
from ste_ray.generation.predict import Predictor
from ste_ray.resources import resource_folder
from ste_ray.stages.base import load_prompts
from ste_ray.tools.spec.files import read_tool_files
from ste_ray.training.config import ModelConfig
from ste_ray.training.export import save_model
from ste_ray.training.model import build_model
from ste_ray.training.tokenizer import train_tokenizer

GOAL = 10.0
BATCHES = (8, 32, 64, 128)
_QUERIES = 256
_MAX_NEW_TOKENS = 48
_PLACES = ("Lisbon", "Oslo", "Nairobi", "Quito", "Hanoi", "Perth", "Tunis", "Riga")


def measure(folder: Path) -> list[Row]:
    """Answer the same queries in batches of several sizes."""
    torch.set_num_threads(1)
    shipped = resource_folder("tool_metadata")
    specs = dict(read_tool_files(("builtin",), (), shipped=shipped).specs)
    prompts = infer_prompts.measure(folder / "prompts", specs)
    if os.environ.get("MODEL"):
        return prompts
    queries = _queries(sorted(specs))
    model = _model(folder / "taught", specs, queries)
    material = PromptMaterial(specs, {}, load_prompts())
    one_by_one, alone = _timed(model, material, queries, 1)
    rows = [Row("one by one", f"{_QUERIES / one_by_one:.1f} queries/s")]
    for size in BATCHES:
        seconds, predictions = _timed(model, material, queries, size)
        ratio = one_by_one / seconds
        equal = sum(
            one.output_text == other.output_text
            for one, other in zip(alone, predictions, strict=True)
        )
        last = size == BATCHES[-1]
        rows.append(
            Row(
                f"in batches of {size}",
                f"{ratio:.1f} × ({_QUERIES / seconds:.1f} queries/s; same text: {equal} of"
                f" {_QUERIES})",
                f"≥ {GOAL:g} ×, same text" if last else "",
                (ratio >= GOAL and equal == _QUERIES) if last else None,
            )
        )
    for temperature in (0.0, 1.0):
        free, _ = _wellformed(model, material, queries, temperature, constrained=False)
        bound, seconds = _wellformed(model, material, queries, temperature, constrained=True)
        rows.append(
            Row(
                f"well formed without and with constraints, temperature {temperature:g}",
                f"{100 * free / _QUERIES:.1f} %; {100 * bound / _QUERIES:.1f} %"
                f" ({_QUERIES / seconds:.1f} queries/s)",
                "100 %",
                bound == _QUERIES,
            )
        )
    return rows + prompts


def _timed(
    model: LocalModel,
    material: PromptMaterial,
    queries: list[Query],
    batch_size: int,
    temperature: float = 0.0,
    constrained: bool = False,
) -> tuple[float, list[Prediction]]:
    decoding = Decoding(_MAX_NEW_TOKENS, batch_size, temperature=temperature)
    setting = Setting("tuned", "toolken")
    predictor = Predictor(model, setting, material, decoding, constrained)
    first = queries[:batch_size]
    predictor.answer(first, predictor.prompts(first))  # the first call allocates
    started = time.perf_counter()
    answered = predictor.answer(queries, predictor.prompts(queries))
    return time.perf_counter() - started, [one.prediction for one in answered]


def _wellformed(
    model: LocalModel,
    material: PromptMaterial,
    queries: list[Query],
    temperature: float,
    constrained: bool,
) -> tuple[int, float]:
    seconds, found = _timed(model, material, queries, BATCHES[-1], temperature, constrained)
    calls = (parse_action(one.output_text, material.specs, suggest=False) for one in found)
    return sum(isinstance(call, ToolCall) for call in calls), seconds


def _queries(tools: list[str]) -> list[Query]:
    rng = random.Random(0)
    found = []
    for number in range(_QUERIES):
        place = rng.choice(_PLACES)
        words = " ".join(rng.choice(_PLACES) for _ in range(rng.randrange(3, 30)))
        tool = rng.choice(tools)
        found.append(
            Query(
                example=Example(
                    example_id=f"e{number:04d}",
                    group_id="",
                    trial_id="",
                    tool=tool,
                    query=f"What is {number} in {place}? {words}",
                    origin="explored",
                    arguments_json=canonical_json({"number": number, "place": place}),
                    observation="",
                    final_answer="",
                    split="test",
                )
            )
        )
    return found


def _model(folder: Path, specs: dict[str, ToolSpec], queries: list[Query]) -> LocalModel:
    """The tiny Llama of the demo, taught for a little while to write calls."""
    texts = [query.example.query for query in queries]
    answers = [
        call_text(toolken(query.example.tool), query.example.arguments_json) for query in queries
    ]
    tokenizer = train_tokenizer([*texts, *answers], vocab_size=512, max_positions=1024)
    tokenizer.add_tokens([toolken(name) for name in sorted(specs)])
    config = ModelConfig(hidden_size=128, num_layers=2, max_positions=1024)
    model = build_model(config, tokenizer, seed=0)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    _teach(model, tokenizer, texts, answers)
    save_model(model, tokenizer, folder)
    return load_model(folder)


def _teach(model, tokenizer, texts: list[str], answers: list[str]) -> None:  # type: ignore[no-untyped-def]
    from ste_ray.core.preparing.formatting import toolken_dialog
    from ste_ray.generation.prompting import encode_dialog

    prompts = load_prompts()
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    rng = random.Random(1)
    for _ in range(60):
        chosen = rng.sample(range(len(texts)), 16)
        rows = [
            [
                *encode_dialog(toolken_dialog(texts[i], prompts), tokenizer),
                *tokenizer(answers[i], add_special_tokens=False)["input_ids"],
                tokenizer.eos_token_id,
            ]
            for i in chosen
        ]
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), -100)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
        model(input_ids=ids.clamp_min(0), labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    sys.stderr.write("taught\n")
