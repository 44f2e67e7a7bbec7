"""The tool parser for vLLM, loaded with stand-ins for the few names of vLLM that it uses."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from pydantic import BaseModel, Field

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "ste_ray" / "training" / "vllm_tool_parser.py"


class FunctionCall(BaseModel):
    name: str
    arguments: str


class ToolCall(BaseModel):
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    type: str = "function"
    function: FunctionCall


class DeltaFunctionCall(BaseModel):
    name: str | None = None
    arguments: str | None = None


class DeltaToolCall(BaseModel):
    id: str | None = None
    type: str | None = None
    index: int
    function: DeltaFunctionCall | None = None


class DeltaMessage(BaseModel):
    content: str | None = None
    tool_calls: list[DeltaToolCall] = Field(default_factory=list)


class ExtractedToolCallInformation(BaseModel):
    tools_called: bool
    tool_calls: list[ToolCall]
    content: str | None = None


class ToolParser:
    def __init__(self, tokenizer: Any, tools: Any = None) -> None:
        self.prev_tool_call_arr: list[dict[str, Any]] = []
        self.current_tool_id = -1
        self.current_tool_name_sent = False
        self.streamed_args_for_tool: list[str] = []
        self.model_tokenizer = tokenizer
        self.tools = list(tools or ())


class ToolParserManager:
    @classmethod
    def register_module(cls, name: str, force: bool = True, module: Any = None) -> None:
        assert (name, force) == ("toolken", True)
        assert issubclass(module, ToolParser)


class StructuredOutputsParams(SimpleNamespace):
    pass


_STAND_INS: dict[str, tuple[Any, ...]] = {
    "vllm": (),
    "vllm.entrypoints": (),
    "vllm.entrypoints.generate": (),
    "vllm.entrypoints.generate.base": (),
    "vllm.entrypoints.generate.base.protocol": (
        DeltaFunctionCall,
        DeltaMessage,
        DeltaToolCall,
        ExtractedToolCallInformation,
        FunctionCall,
        ToolCall,
    ),
    "vllm.sampling_params": (StructuredOutputsParams,),
    "vllm.tool_parsers": (ToolParser, ToolParserManager),
}


@contextmanager
def modules_kept() -> Iterator[None]:
    """Whatever is imported meanwhile is forgotten again: nobody else shall think vLLM is here."""
    before = dict(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]
        sys.modules.update(before)


def load_plugin(path: Path = PLUGIN) -> ModuleType:
    """Load the file with stand-ins, as vLLM loads a plugin: by its path."""
    with modules_kept():
        for name, members in _STAND_INS.items():
            module = ModuleType(name)
            for member in members:
                setattr(module, member.__name__, member)
            sys.modules[name] = module
        spec = importlib.util.spec_from_file_location("tool_parser", path)
        assert spec is not None
        assert spec.loader is not None
        plugin = importlib.util.module_from_spec(spec)
        sys.modules["tool_parser"] = plugin
        spec.loader.exec_module(plugin)
    return plugin


class Tokenizer:
    """Has toolkens in its vocabulary, which is all that is asked of it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._added = {f"<tool_{name}>": 1000 + number for number, name in enumerate(names)}

    def get_added_vocab(self) -> dict[str, int]:
        return {"<pad>": 0, "<tool_>": 1, "<retired_toolken_7>": 7, **self._added}

    def get_vocab(self) -> dict[str, int]:
        return self.get_added_vocab()


def offered(*names: str, parameters: Any = None) -> list[SimpleNamespace]:
    """Tools as a chat request brings them."""
    functions = [SimpleNamespace(name=name, parameters=parameters) for name in names]
    return [SimpleNamespace(type="function", function=function) for function in functions]


def chat_request(tools: list[Any], choice: Any = "auto") -> SimpleNamespace:
    return SimpleNamespace(
        messages=[], tools=tools, tool_choice=choice, structured_outputs=None, response_format="x"
    )


def assembled(deltas: Iterable[Any]) -> tuple[str, list[tuple[str, str]]]:
    """Content and calls as a client puts them together."""
    content, calls = "", {}
    for delta in deltas:
        if delta is None:
            continue
        content += delta.content or ""
        for one in delta.tool_calls:
            if one.id is not None:
                assert one.index == len(calls), "calls begin in order"
                assert one.type == "function"
                assert one.function.name
                calls[one.index] = [one.function.name, ""]
            else:
                assert one.function.name is None
            calls[one.index][1] += one.function.arguments or ""
    return content, [(name, arguments) for name, arguments in calls.values()]


def all_splits(text: str) -> Iterator[list[str]]:
    """Every way of splitting a text into pieces."""
    for bits in range(1 << max(0, len(text) - 1)):
        pieces, start = [], 0
        for place in range(1, len(text)):
            if bits >> (place - 1) & 1:
                pieces.append(text[start:place])
                start = place
        yield [*pieces, text[start:]]


def some_splits(text: str, most: int = 45) -> Iterator[list[str]]:
    """A text in single characters, in every two pieces, and in every three if it is short."""
    yield list(text)
    for first in range(len(text) + 1):
        yield [text[:first], text[first:]]
        for second in range(first + 1, len(text)) if len(text) <= most else ():
            yield [text[:first], text[first:second], text[second:]]
