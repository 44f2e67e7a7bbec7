"""Asks the writer for the request of a test, and finds what rules alone can tell to be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.preparing.values import find_value, stands_in
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Message
from ste_ray.core.replies.conversation import assistant_message, explained, failure_of
from ste_ray.core.replies.queries import clean_query
from ste_ray.core.tool_specs import ToolSpec

_MAX_TOKENS = 240
_SAMPLING = Sampling(temperature=1.0, max_tokens=_MAX_TOKENS)
_ATTEMPTS = 2


class Written(NamedTuple):
    """A request, and why it cannot be used; an empty reason: it can."""

    text: str
    reason: str


class Told(NamedTuple):
    """A required argument, its value as text, and how the request tells it."""

    name: str
    value: str
    written: str


def write_flow(prompt: str, fault: Callable[[str], str], prompts: PromptSet) -> Flow[Written]:
    """Ask for a request; one with a fault is told it and asked for once more.

    Args:
        prompt: what is asked.
        fault: returns what is wrong with a request, or nothing.
        prompts: the templates.
    """
    messages = [Message(role="user", content=prompt)]
    for attempt in range(1, _ATTEMPTS + 1):
        reply = yield AskModel(role="paraphraser", messages=tuple(messages), sampling=_SAMPLING)
        assert isinstance(reply, ModelReply)
        text = clean_query(reply.text)
        reason = explained(reply, _MAX_TOKENS, "paraphraser")
        reason = reason or ("" if text else "the request is empty") or fault(text)
        if not reason or attempt == _ATTEMPTS or reply.finish_reason not in ("stop", "length"):
            break
        problem = failure_of(reply, _MAX_TOKENS) or reason  # advice is not for the model
        again = prompts.render("test_again", problem=problem)
        messages += [assistant_message(reply.text), Message(role="user", content=again)]
    return Written(text, reason)


def told_arguments(spec: ToolSpec, query: str, arguments_json: str) -> list[Told]:
    """Return the required arguments whose value a request tells, by name.

    One whose value is told for another argument too cannot be taken out, and is left out; so is one
    with a default.
    """
    schema = spec.parameters
    properties, required = schema.get("properties", {}), schema.get("required", ())
    found = []
    for name, value in sorted(json.loads(arguments_json).items()):
        if isinstance(value, bool | dict | list) or value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        written = stands_in(text, query)
        described = properties.get(name)
        has_default = isinstance(described, dict) and "default" in described
        if written is not None and name in required and not has_default:
            found.append(Told(name, text, written))
    written_of = [one.written.casefold() for one in found]
    return [one for one in found if written_of.count(one.written.casefold()) == 1]


def copy_fault(text: str, query: str) -> str:
    """Return the fault of a wording that is the request itself."""
    return "it is a copy of the request" if normalise(text) == normalise(query) else ""


def taken_out_fault(text: str, missing: Told, others: list[Told]) -> str:
    """Return the fault of a request that still tells a value, or has lost another one."""
    if find_value(missing.value, text) is not None or find_value(missing.written, text) is not None:
        return f"it still tells {missing.written!r}"
    for one in others:
        if find_value(one.value, text) is None and find_value(one.written, text) is None:
            return f"it has lost {one.written!r} as well"
    return ""
