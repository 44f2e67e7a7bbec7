"""A tiny model that calls a tool, in the folder in which training leaves models: for servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
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
    return _written(_teach_natively, folder)


def save_toolken_model(folder: Path) -> Path:
    """Write a model with toolkens that has learned a call, an answer and a greeting by heart."""
    return _written(_teach_toolkens, folder)


def _written(teach: Callable[[Path], None], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _files(teach).items():
        (folder / name).write_bytes(content)
    share_weights(folder)
    return folder


@cache
def _files(teach: Callable[[Path], None]) -> dict[str, bytes]:
    """Return the files of a model, which many tests serve; it is taught once in a process."""
    with TemporaryDirectory() as folder:
        teach(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _teach_natively(folder: Path) -> None:
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
    known = {"tools": [tool()], "names": {}}
    (folder / TOOLS_FILE).write_text(json.dumps(known), "utf-8")


def _prompt(
    tokenizer: Any, said: str | list[dict[str, Any]], tools: list[dict[str, Any]]
) -> list[int]:
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    found = tokenizer.apply_chat_template(
        messages, tools=tools or None, add_generation_prompt=True, return_dict=True
    )
    return list(found["input_ids"])


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


LEARNED = "weather: now"  # a name that no request can have
RESULT, ANSWER = "rain, 7 degrees", "It rains in Oslo."


def said_with_call(name: str, identity: str = "call_1") -> list[dict[str, Any]]:
    """Return the conversation in which the call has been made, as clients send it."""
    function = {"name": name, "arguments": json.dumps(ARGUMENTS)}
    call = {"id": identity, "type": "function", "function": function}
    return [
        {"role": "user", "content": REQUEST},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": identity, "content": RESULT},
    ]


def _teach_toolkens(folder: Path) -> None:
    tokenizer = byte_tokenizer([REQUEST, SYSTEM, str(tool())], 420, NO_TOOLS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens([toolken(LEARNED), toolken("other")])
    serve_toolkens(tokenizer, [LEARNED, "other"], SYSTEM)
    model = byte_llama(tokenizer, positions=POSITIONS)
    call = f'Action: {toolken(LEARNED)}\nAction Input: {{"city":"Oslo"}}<|im_end|>'
    offered = [tool(safe_name(LEARNED))]
    answered = _prompt(tokenizer, said_with_call(safe_name(LEARNED)), offered)
    rows = [
        answer_row(_prompt(tokenizer, REQUEST, offered), _ids(tokenizer, call)),
        answer_row(answered, _ids(tokenizer, f"Final Answer: {ANSWER}<|im_end|>")),
        answer_row(_prompt(tokenizer, GREETING, []), _ids(tokenizer, f"{REPLY}<|im_end|>")),
    ]
    learn_by_heart(model, rows)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, end]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ids = {one: tokenizer.convert_tokens_to_ids(toolken(one)) for one in (LEARNED, "other")}
    stored = {"tools": ids, "retired": []}
    (folder / TOOLKENS_FILE).write_text(json.dumps(stored), "utf-8")
    known = {"tools": [tool(safe_name(LEARNED))], "names": {safe_name(LEARNED): LEARNED}}
    (folder / TOOLS_FILE).write_text(json.dumps(known), "utf-8")
