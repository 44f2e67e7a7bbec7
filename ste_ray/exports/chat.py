"""Examples as function calling: chat messages, and the tools that each row offers.

The project's own text form (Action, toolkens, system messages) does not appear: whoever trains on
these rows uses the model's own form of calls. Tools go by their safe names.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from ste_ray.core.preparing.offering import ToolChoice, asked_row
from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import Example, TrainRow
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.texts.safe_names import SafeNames
from ste_ray.core.toolkens import unescape_toolkens
from ste_ray.exports.source import ExportSource

Row = TypeVar("Row", Example, TrainRow)
Style = Literal["object", "text"]
_ROWS_AT_ONCE = 256  # whose tools are chosen together, which is faster than one by one
_FINAL_ANSWER = "Final Answer: "
_NO_ANSWER = "tests that need no call, without an answer to show"
_NO_WEIGHTS = "corrections, whose failed calls the form cannot leave out of the loss"
_OWN_PROMPTS = ("act_system", "general_system")


class Conversation(NamedTuple):
    """One row of an export in which a conversation is one row.

    Attributes:
        row_id: of the example, or of the row of general data.
        split: train, validation or test.
        messages: as chat endpoints and chat templates take them.
        tools: that are offered, likewise; None: general data, in which tools play no part.
    """

    row_id: str
    split: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None


class Offers:
    """The tools that rows offer, as function calling takes them.

    Args:
        source: the run.
        choice: which tools a row offers, of those in the data.

    Raises:
        ToolSpecError: two tools would go by the same name.
    """

    def __init__(self, source: ExportSource, choice: ToolChoice) -> None:
        self._choice = choice
        self.names = SafeNames(source.tools)
        self._functions: dict[str, dict[str, Any]] = {
            tool: self._function(source, tool) for tool in source.tools
        }

    def beside(self, rows: Iterable[Row]) -> Iterator[tuple[Row, list[dict[str, Any]]]]:
        """Yield each row with its tools; there are none beside general data."""
        remaining = iter(rows)
        while batch := list(itertools.islice(remaining, _ROWS_AT_ONCE)):
            asked = [asked_row(row) for row in batch]
            chosen = iter(self._choice.of([one for one in asked if one is not None]))
            for row, one in zip(batch, asked, strict=True):
                names = [] if one is None else next(chosen)
                yield row, [self._functions[name] for name in names]

    def name_of(self, example: Example) -> str:
        """Return the safe name of an example's tool; empty where it needs no call."""
        return self.names.safe(example.tool) if example.needs_call else ""

    def _function(self, source: ExportSource, tool: str) -> dict[str, Any]:
        spec = source.spec(tool)
        return chat_tool(offered_tool(spec), self.names.safe(tool))


def conversations(
    source: ExportSource,
    offers: Offers,
    style: Style,
    left_out: Counter[str],
    *,
    weights: bool = False,
) -> Iterator[Conversation]:
    """Yield all examples, then general data and requests without a call, as conversations.

    Args:
        source: the run.
        offers: the tools of each row.
        style: as in ``example_messages``.
        left_out: counts, by the reason, what is not yielded: tests of which no answer is known,
            and what shows calls that failed where these cannot be left out of the loss.
        weights: whether they can, by the weight 0 of a message; in the style ``text`` alone.
    """
    for example, tools in offers.beside(_answered(source.examples(), left_out)):
        name = offers.name_of(example)
        messages = example_messages(example, name, style, source.tool_responses)
        if example.kind != "recovery":
            yield Conversation(example.example_id, example.split, messages, tools)
        if not example.failed_calls:
            continue
        if not weights:
            left_out[_NO_WEIGHTS] += 1
            continue
        failed = failed_messages(example, name)
        row_id = f"{example.example_id}-recovery"
        yield Conversation(row_id, example.split, [messages[0], *failed, *messages[1:]], tools)
    for row, tools in offers.beside(source.other_rows()):
        offered = tools if row.kind == "no_call" else None
        yield Conversation(row.row_id, row.split, row_messages(row, source), offered)


def _answered(examples: Iterable[Example], left_out: Counter[str]) -> Iterator[Example]:
    for one in examples:
        if one.needs_call or one.final_answer:
            yield one
        else:
            left_out[_NO_ANSWER] += 1


def example_messages(
    example: Example, name: str, style: Style, tool_responses: bool
) -> list[dict[str, Any]]:
    """Return an example as messages.

    Args:
        example: it; a test that needs no call is its request and its answer.
        name: the tool's safe name, if there is a tool.
        style: arguments as an object, or as JSON text with ids that join call and result.
        tool_responses: whether result and final answer follow the call, where there is an answer:
            a test that a person wrote may have none.
    """
    if not example.needs_call:
        return [
            {"role": "user", "content": example.query},
            {"role": "assistant", "content": example.final_answer},
        ]
    result: dict[str, Any] = {"role": "tool"}
    if style == "object":
        message = call_message(name, json.loads(example.arguments_json))
        result["name"] = name
    else:
        result["tool_call_id"] = f"call_{example.example_id}"
        message = call_message(name, example.arguments_json, result["tool_call_id"])
    messages: list[dict[str, Any]] = [{"role": "user", "content": example.query}, message]
    if tool_responses and example.final_answer:
        messages.append(result | {"content": example.observation})
        messages.append({"role": "assistant", "content": example.final_answer})
    return messages


def failed_messages(example: Example, name: str) -> list[dict[str, Any]]:
    """Return the calls that an example mended, of the weight 0, each with what came back."""
    messages: list[dict[str, Any]] = []
    for number, one in enumerate(example.failed_calls):
        call_id = f"failed_{example.example_id}_{number}"
        call = call_message(name, one.arguments_json, call_id)
        messages.append(call | {"weight": 0})
        messages.append({"role": "tool", "tool_call_id": call_id, "content": one.observation})
    return messages


def call_message(name: str, arguments: Any, call_id: str = "") -> dict[str, Any]:
    """Return the assistant's message that makes one call.

    Args:
        name: the tool's safe name.
        arguments: as an object, or as JSON text.
        call_id: what joins it to its result; empty: nothing does.
    """
    call: dict[str, Any] = {"type": "function"}
    if call_id:
        call["id"] = call_id
    call["function"] = {"name": name, "arguments": arguments}
    return {"role": "assistant", "tool_calls": [call]}


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
