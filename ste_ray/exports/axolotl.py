"""For axolotl: conversations with tools for its data sets of type ``chat_template``, and a recipe.

Tools are JSON text, and so are the arguments of calls: axolotl reads both, and rows of one shape
get no nulls where those of others have values.
Source of the form: docs.axolotl.ai/docs/dataset-formats/conversation.html (tool use).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ste_ray.exports.chat import Offers, conversations, name_map
from ste_ray.exports.folder import LineFiles, Written, write_json
from ste_ray.exports.source import ExportSource

RECIPE = "axolotl.yml"
TRIED = "0.19"
_CHARS_PER_TOKEN = 3
_MIN_LENGTH = 2048  # tokens
_OF_MESSAGES = ("role", "content", "tool_calls", "tool_call_id")


def write_axolotl(
    folder: Path, source: ExportSource, offers: Offers, *, base_model: str
) -> Written:
    """Write a file for each split and a recipe; return rows by split.

    Args:
        folder: is there and empty.
        source: the run.
        offers: the tools of each row.
        base_model: the model that the recipe trains.
    """
    longest = 0
    with LineFiles(folder) as files:
        for one in conversations(source, offers, "text", files.left_out):
            tools = json.dumps(one.tools or [], ensure_ascii=False)
            row = {"messages": one.messages, "tools": tools}
            files.write(one.split, row)
            if one.split != "test":
                longest = max(longest, len(json.dumps(row, ensure_ascii=False)))
    values = _recipe(base_model, files.counts, sequence_length(longest))
    recipe = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    (folder / RECIPE).write_text(recipe, encoding="utf-8")
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_readme(source), encoding="utf-8")
    return files.written


def _dataset(split: str) -> dict[str, Any]:
    return {
        "path": f"{split}.jsonl",
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "field_tools": "tools",
        # Else calls are taken only where the chat template is found to read them, which fails for
        # some templates: then their rows would train on nothing.
        "message_property_mappings": {name: name for name in _OF_MESSAGES},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }


def sequence_length(num_chars: int) -> int:
    """Return the power of two of tokens that a row of so many characters is likely to fit in.

    A text of a tool and its schema has three characters a token or more, with most tokenizers; the
    JSON around it pays for what a chat template adds.
    """
    least = max(_MIN_LENGTH, -(-num_chars // _CHARS_PER_TOKEN))
    return 1 << (least - 1).bit_length()


def _recipe(base_model: str, counts: Mapping[str, int], sequence_len: int) -> dict[str, Any]:
    """Return the recipe: adapters on all linear layers, at a usual rate, three times over."""
    recipe: dict[str, Any] = {
        "base_model": base_model,
        "chat_template": "tokenizer_default",
        "datasets": [_dataset("train")],
    }
    if "validation" in counts:
        recipe["test_datasets"] = [{**_dataset("validation"), "split": "train"}]
    return recipe | {
        "dataset_prepared_path": "prepared",
        "output_dir": "trained",
        "sequence_len": sequence_len,
        "adapter": "lora",
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_target_linear": True,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "num_epochs": 3,
        "optimizer": "adamw_torch",
        "lr_scheduler": "cosine",
        "learning_rate": 2e-4,
        "warmup_ratio": 0.05,
        "bf16": "auto",
    }


def _readme(source: ExportSource) -> str:
    return (
        f"Tool calls prepared by ste-ray{source.public_origin}, as conversations with tools for\n"
        "axolotl.\n\n"
        f"`axolotl train {RECIPE}`, run in this folder, trains an adapter on them. The recipe is\n"
        "a beginning: sizes and rates are for you to set. `sequence_len` is the length of the\n"
        f"longest row at {_CHARS_PER_TOKEN} characters a token, rounded up to a power of two;\n"
        "axolotl drops or cuts rows that are longer, as in languages whose letters take\n"
        "several tokens. Nothing trains on `test.jsonl`. The\n"
        "chat template of `base_model` must know tools. Tools go by names of letters, digits, `_`\n"
        "and `-`; `tool_names.json` holds the names that they stand for.\n\n"
        f"Tried with axolotl {TRIED}.\n"
    )
