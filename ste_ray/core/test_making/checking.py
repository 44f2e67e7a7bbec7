"""The second judgement of a test: what the judge would do with the request, told nothing else.

It sees the request and some tools, neither the kind of the test nor the call that is held for
right. Only a test on which both agree is kept. A reply that cannot be read is asked again once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.prompts import PromptSet, describe_tools
from ste_ray.core.records import Message
from ste_ray.core.replies.conversation import advice_on, assistant_message, explained, failure_of
from ste_ray.core.replies.parsing import ToolCall, parse_action
from ste_ray.core.replies.strict_json import clip
from ste_ray.core.tool_specs import ToolSpec

_MAX_TOKENS = 400
_ATTEMPTS = 2
_ASK = re.compile(
    r"^[ \t>*_#`-]*ask[ \t*_`]*:[ \t*_`]*(?P<tool>[^,;\n]+)[,;](?P<names>.+)$", re.I | re.M
)
_NONE = re.compile(r"^[ \t>*_#`-]*none[ \t*_`]*(?::(?P<why>.*))?$", re.I | re.M)
_AROUND = " \t*_`'\"."


@dataclass(frozen=True)
class Asks:
    """The judge would ask for values of arguments of a tool."""

    tool: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Declines:
    """The judge finds no tool that fits."""

    reason: str


@dataclass(frozen=True)
class Unread:
    """The judge's reply cannot be used."""

    problem: str


Judged = ToolCall | Asks | Declines | Unread


@dataclass(frozen=True)
class Check:
    """A judgement, and the reply that it was read from."""

    judged: Judged
    reply_text: str


def check_flow(
    query: str, tools: Sequence[ToolSpec], prompts: PromptSet, temperature: float
) -> Flow[Check]:
    """Ask the judge what to do with a request where there are ``tools``."""
    prompt = prompts.render("test_check", tools=describe_tools(tools), query=query)
    messages = [Message(role="user", content=prompt)]
    sampling = Sampling(temperature=temperature, max_tokens=_MAX_TOKENS)
    names = {tool.name for tool in tools}
    for attempt in range(1, _ATTEMPTS + 1):
        reply = yield AskModel(role="judge", messages=tuple(messages), sampling=sampling)
        assert isinstance(reply, ModelReply)
        failure = explained(reply, _MAX_TOKENS, "judge")
        check = Check(Unread(failure) if failure else read_check(reply.text, names), reply.text)
        ended = reply.finish_reason not in ("stop", "length")
        if not isinstance(check.judged, Unread) or ended or attempt == _ATTEMPTS:
            break
        problem = check.judged.problem
        if advice_on(reply, "judge"):
            problem = failure_of(reply, _MAX_TOKENS)  # the advice is not for the model
        again = prompts.render("test_check_again", problem=problem)
        messages += [assistant_message(reply.text), Message(role="user", content=again)]
    return check


def read_check(text: str, tools: set[str]) -> Judged:
    """Read a reply: a call, ``Ask: TOOL, ARGUMENT``, ``None: REASON``, or why it is none of them.

    Of several the first counts.
    """
    found = parse_action(text, tools, suggest=False)
    asks, none = _ASK.search(text), _NONE.search(text)
    action = re.search(r"^[ \t>*_#`-]*action[ \t*_`]*:", text, re.I | re.M)
    first = min(
        (match for match in (asks, none, action) if match),
        key=lambda one: one.start(),
        default=None,
    )
    if first is None:
        return Unread(f"{clip(text)} holds none of Action, Ask and None")
    if first is none:
        return Declines((none["why"] or "").strip())
    if first is asks:
        return _asks(asks, tools)
    if isinstance(found, ToolCall):
        return found
    return Unread(getattr(found, "message", "it is a final answer"))


def _asks(match: re.Match[str], tools: set[str]) -> Asks | Unread:
    tool = match["tool"].strip(_AROUND)
    if tool not in tools:
        return Unread(f"there is no tool {tool!r}")
    names = (one.strip(_AROUND) for one in re.split(r"[,;]|\band\b", match["names"]))
    return Asks(tool, tuple(name for name in names if name))
