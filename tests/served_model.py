"""A tiny model that calls a tool, in the folder in which training leaves models: for servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import TOOLKENS_FILE, toolken
from ste_ray.core.trained_tools import TOOLS_FILE
from ste_ray.process.model_folder import share_weights
from ste_ray.training.export import serve_toolkens
from tests.byte_models import answer_row, byte_llama, byte_tokenizer, learn_by_heart
from tests.native_templates import HERMES, NO_TOOLS

POSITIONS = 700
REQUEST = "Weather in Oslo?"
REPLY = "Hello to you."
GREETING = "Say hello."
SYSTEM = "Call a tool, or answer."
STORY, TALE = "Tell a story.", "and on and "  # without an end
ARGUMENTS = {"city": "Oslo"}


def tool(name: str = "get_weather", **properties: Any) -> dict[str, Any]:
    """Return a tool as clients offer it."""
    properties = properties or {"city": {"type": "string", "description": "A city."}}
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    function = {"name": name, "description": "Tells the weather.", "parameters": parameters}
    return {"type": "function", "function": function}


def save_served_model(folder: Path) -> Path:
    """Write a model that has learned three requests by heart."""
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    ends = ("<|im_start|>", "<|im_end|>")
    tokenizer = byte_tokenizer([call, REQUEST, str(tool()), TALE], 420, HERMES, ends)
    tokenizer.response_template = NativeChat(tokenizer).response_template()
    assert tokenizer.response_template is not None
    model = byte_llama(tokenizer, positions=POSITIONS)
    rows = [
        answer_row(_prompt(tokenizer, REQUEST, [tool()]), _ids(tokenizer, f"{call}<|im_end|>")),
        answer_row(_prompt(tokenizer, GREETING, []), _ids(tokenizer, f"{REPLY}<|im_end|>")),
        answer_row(_prompt(tokenizer, STORY, []), _ids(tokenizer, TALE * 40)),
    ]
    learn_by_heart(model, rows)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    share_weights(folder)
    known = {"tools": [tool()], "names": {}}
    (folder / TOOLS_FILE).write_text(json.dumps(known), "utf-8")
    return folder


def _prompt(tokenizer: Any, request: str, tools: list[dict[str, Any]]) -> list[int]:
    messages = [{"role": "user", "content": request}]
    found = tokenizer.apply_chat_template(
        messages, tools=tools or None, add_generation_prompt=True, return_dict=True
    )
    return list(found["input_ids"])


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


LEARNED = "weather: now"  # a name that no request can have


def save_toolken_model(folder: Path) -> Path:
    """Write a model with toolkens that has learned a call and a greeting by heart."""
    tokenizer = byte_tokenizer([REQUEST, SYSTEM, str(tool())], 420, NO_TOOLS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens([toolken(LEARNED), toolken("other")])
    serve_toolkens(tokenizer, [LEARNED, "other"], SYSTEM)
    model = byte_llama(tokenizer, positions=POSITIONS)
    call = f'Action: {toolken(LEARNED)}\nAction Input: {{"city":"Oslo"}}<|im_end|>'
    offered = [tool(safe_name(LEARNED))]
    rows = [
        answer_row(_prompt(tokenizer, REQUEST, offered), _ids(tokenizer, call)),
        answer_row(_prompt(tokenizer, GREETING, []), _ids(tokenizer, f"{REPLY}<|im_end|>")),
    ]
    learn_by_heart(model, rows)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, end]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    share_weights(folder)
    ids = {one: tokenizer.convert_tokens_to_ids(toolken(one)) for one in (LEARNED, "other")}
    stored = {"tools": ids, "retired": []}
    (folder / TOOLKENS_FILE).write_text(json.dumps(stored), "utf-8")
    known = {"tools": [tool(safe_name(LEARNED))], "names": {safe_name(LEARNED): LEARNED}}
    (folder / TOOLS_FILE).write_text(json.dumps(known), "utf-8")
    return folder
