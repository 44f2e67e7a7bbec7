"""Examples as function calling: chat messages, and the tools that each row offers.

The project's own text form (Action, toolkens, system messages) does not appear: whoever trains on
these rows uses the model's own form of calls. Tools go by their safe names.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any, Literal

from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import Example, TrainRow
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.texts.safe_names import SafeNames
from ste_ray.core.toolkens import unescape_toolkens
from ste_ray.exports.source import ExportSource

_FINAL_ANSWER = "Final Answer: "
_OWN_PROMPTS = ("act_system", "general_system")


class Offers:
    """Draws the tools that a row offers: the right one and others, in any order.

    Args:
        source: the run.
        number: how many tools a row offers; 0: all.
        seed: of the draw; beside it, a row's own key decides.

    Raises:
        ToolSpecError: two tools would go by the same name.
    """

    def __init__(self, source: ExportSource, number: int, seed: int) -> None:
        self._tools, self._number, self._seed = source.tools, number, seed
        self.names = SafeNames(source.tools)
        self._functions: dict[str, dict[str, Any]] = {
            tool: self._function(source, tool) for tool in source.tools
        }

    def of(self, key: str, right: str | None = None) -> list[dict[str, Any]]:
        """Return the tools of the row ``key``; ``right`` is among them."""
        rng = random.Random(f"{self._seed}:{key}")
        number = min(self._number or len(self._tools), len(self._tools))
        # One more than needed, because the right one may be drawn too.
        drawn = rng.sample(self._tools, min(number + 1, len(self._tools)))
        others = [tool for tool in drawn if tool != right]
        offered = others[:number]
        if right is not None:
            offered = [right, *others[: number - 1]]
        rng.shuffle(offered)
        return [self._functions[tool] for tool in offered]

    def name_of(self, example: Example) -> str:
        """Return the safe name of an example's tool; empty where it needs no call."""
        return self.names.safe(example.tool) if example.needs_call else ""

    def _function(self, source: ExportSource, tool: str) -> dict[str, Any]:
        spec = source.spec(tool)
        return chat_tool(offered_tool(spec), self.names.safe(tool))


def example_messages(
    example: Example, name: str, style: Literal["object", "text"], tool_responses: bool
) -> list[dict[str, Any]]:
    """Return an example as messages.

    Args:
        example: it; a test that needs no call is its request and its answer.
        name: the tool's safe name, if there is a tool.
        style: arguments as an object, or as JSON text with ids that join call and result.
        tool_responses: whether result and final answer follow the call.
    """
    if not example.needs_call:
        return [
            {"role": "user", "content": example.query},
            {"role": "assistant", "content": example.final_answer},
        ]
    call: dict[str, Any] = {"type": "function"}
    result: dict[str, Any] = {"role": "tool"}
    if style == "object":
        arguments: Any = json.loads(example.arguments_json)
        result["name"] = name
    else:
        arguments = example.arguments_json
        call["id"] = result["tool_call_id"] = f"call_{example.example_id}"
    call["function"] = {"name": name, "arguments": arguments}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": example.query},
        {"role": "assistant", "tool_calls": [call]},
    ]
    if tool_responses:
        messages.append(result | {"content": example.observation})
        messages.append({"role": "assistant", "content": example.final_answer})
    return messages


def row_messages(row: TrainRow, source: ExportSource) -> list[dict[str, Any]]:
    """Return a row of general data, or a request without a call, as messages."""
    own = {source.prompts.system_message(name).content for name in _OWN_PROMPTS}
    turns = list(row.messages)
    if turns[0].role == "system" and turns[0].content in own:
        del turns[0]
    contents = [unescape_toolkens(turn.content) for turn in turns]
    if row.kind == "no_call":
        contents[-1] = contents[-1].removeprefix(_FINAL_ANSWER)
    return [
        {"role": turn.role, "content": content}
        for turn, content in zip(turns, contents, strict=True)
    ]


def name_map(offers: Offers, source: ExportSource) -> Mapping[str, str]:
    """Return safe name -> name of the tool, for all tools in the data."""
    return {offers.names.safe(tool): tool for tool in source.tools}
