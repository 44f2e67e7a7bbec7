"""Tools, rows and tokenizers of trainings in the native form."""

from __future__ import annotations

import json

from tokenizers import AddedToken

from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import (
    absent_tool_row,
    general_no_call_row,
    general_row,
    training_rows,
)
from ste_ray.core.records import Example, Message
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
from ste_ray.retrieval.offering import ToolOffers
from ste_ray.stages.base import load_prompts
from ste_ray.stages.train.inputs import lay_out
from ste_ray.stages.train.shards import write_shards_here
from ste_ray.training.native_form import NativeForm
from tests.training.conftest import small_tokenizer
from tests.training.training_runs import prepared

PROMPTS = load_prompts()
_DESCRIBED = {
    "weather report": "Tells the weather of a city.",
    "weather_warning": "Tells weather warnings of a city.",
    "get_time": "Tells the time.",
    "Größe%%[v2]": "Tells how large a thing is.",
}
SPECS = {
    name: ToolSpec.model_validate(
        {
            "name": name,
            "description": text,
            "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
            "executor": {"kind": "python", "target": "a:b"},
        }
    )
    for name, text in _DESCRIBED.items()
}
MODEL = {"vocab_size": 600, "hidden_size": 64, "num_heads": 2, "max_positions": 2048}
SECTION = {"format": "native", "tools_per_row": 2, "max_tokens": 2048, "model": MODEL}
SPECIAL = ("<|im_start|>", "<|im_end|>", "[TOOL_CALLS]")


def an_example(number, value="abc", split="train"):
    name = list(SPECS)[number % len(SPECS)]
    return Example(
        example_id=f"example{number:02d}",
        group_id=f"example{number:02d}",
        trial_id="t",
        tool=name,
        query=f"What of {value}?",
        origin="explored",
        arguments_json=json.dumps({"q": value}, separators=(",", ":"), ensure_ascii=False),
        observation=f"{value} is {value}",
        final_answer=f"It is {value}.",
        split=split,
    )


def rows_of(example, tool_responses=True):
    return training_rows(example, PROMPTS, tool_responses)


def other_rows():
    """A row of general data, of a general request beside tools, and of a tool that is not there."""
    turns = [Message(role="user", content="Say <tool_x> hi.")]
    return [
        general_row(turns, "hi <tool_x> you", "train", PROMPTS),
        general_no_call_row(turns, "hi <tool_x> you", "train", PROMPTS),
        absent_tool_row("What of rain?", "rain", "train", PROMPTS),
    ]


def native_tokenizer(template):
    """Return a small tokenizer with a chat template, fit for native calls."""
    tokenizer = small_tokenizer([json.dumps(spec.parameters) for spec in SPECS.values()])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("<tool_call>",)])
    if template is not None:
        tokenizer.chat_template = template
    give_tools(tokenizer)
    return tokenizer


def offers(number=2):
    return ToolOffers(make_encoder(HASHED_NGRAMS), list(SPECS.values()), number, seed=3)


def form_of(tokenizer, number=2):
    return NativeForm(tokenizer, SPECS, offers(number), PROMPTS)


def native_run(uri, rows, specs=SPECS, **section):
    """Return the context of a run whose prepare stage made ``rows`` for a native training."""
    context, _ = prepared(uri, rows, list(SPECS), **{**SECTION, **section})
    stored = [spec.model_dump(mode="json") for spec in specs.values()]
    context.store.write_json(layout.TOOLS, stored)
    return context


def native_job(uri, rows, specs=SPECS, write=write_shards_here, **section):
    """Return the laid out job of such a run, and its context."""
    context = native_run(uri, rows, specs, **section)
    return lay_out(context, write), context
