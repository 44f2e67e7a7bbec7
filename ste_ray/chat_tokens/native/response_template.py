"""The form of calls as transformers describes it, so that its server reads what a model writes.

``response_template`` of a tokenizer says where the parts of a reply begin and end. Most come
without one; then ``transformers serve`` returns calls as plain text. Here it is made from the form
that was derived, and proven by letting transformers read calls. It ends a call at the first text
that looks like its end, also within an argument: so ``reading`` is what this project reads by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ste_ray.chat_tokens.call_forms.probes import IDS, NAMES, TEXT
from ste_ray.core.native_calls.form import CallForm, WrittenCall
from ste_ray.core.native_calls.writing import write_calls

_FUNCTION = {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}}
_PROBES: tuple[dict[str, Any], ...] = (
    {},
    {"text": 'she said "it\'s" {so}\n[x] é', "n": 5},
    {"deep": {"list": [1, None, True, {"a": "</b>"}]}},
)


def response_template(
    form: CallForm, anchors: Sequence[str], tokenizer: Any
) -> dict[str, Any] | None:
    """Return what transformers reads replies by; None: it cannot read this form.

    Args:
        form: of the calls.
        anchors: what stands before a message of the assistant, such as ``<|im_start|>assistant``.
        tokenizer: of transformers, which reads the proof.
    """
    calls = _calls(form)
    if calls is None or not all(one.strip() for one in anchors):
        return None
    ends = re.escape(form.end_mark) if form.end_mark else r"\Z"
    found = {
        "defaults": {"role": "assistant"},
        "start_anchor": list(anchors),
        "fields": {
            "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
            "tool_calls": calls,
            "content": {"close_pattern": rf"\s*(?:{ends})\s*", "content": "text"},
        },
    }
    return found if _proven(found, form, anchors[0], tokenizer) else None


def _calls(form: CallForm) -> dict[str, Any] | None:
    """Return the field of calls; None: this form has no texts to find them by."""
    if form.arguments != "json" or form.is_bare or form.started:
        return None
    if not form.is_object:
        return _marked(form)
    if len(form.name_path) != 1 or len(form.arguments_path) != 1:
        return None
    opening, closing = form.opening.strip(), form.closing.strip()
    in_list = opening.endswith("[") and closing.startswith("]")
    # In a list, each call's own keys are looked at; else what was read is the call.
    of = "" if in_list else "content."
    function = {
        "name": f"{{{of}{form.name_path[0]}}}",
        "arguments": f"{{{of}{form.arguments_path[0]}}}",
    }
    field = {
        "open_pattern": rf"\s*{_flexible(opening.removesuffix('[') if in_list else opening)}",
        "content": "json",
        "transform": {"type": "function", "function": function},
        "transform_each" if in_list else "repeats": True,
    }
    return field | _closed(closing.removeprefix("]") if in_list else closing, form)


def _marked(form: CallForm) -> dict[str, Any] | None:
    """Return the field of calls whose name stands before their arguments."""
    if form.slots != ("name", "arguments") or form.opening.strip() not in form.between:
        return None
    section = form.opening.strip()
    return {
        "open_pattern": rf"\s*{_flexible(section)}(?P<name>[^\s{{<\[]+){_flexible(form.gaps[1])}",
        "repeats": True,
        "content": "json",
        "transform": _FUNCTION,
    } | _closed(form.closing.strip(), form)


def _closed(closing: str, form: CallForm) -> dict[str, Any]:
    if closing:
        return {"close_pattern": _flexible(closing)}
    if not form.end_mark:
        return {}
    return {"close_pattern": rf"(?={re.escape(form.end_mark)}|{_flexible(form.opening.strip())})"}


def _flexible(text: str) -> str:
    return r"\s*".join(re.escape(part) for part in text.split())


def _proven(found: dict[str, Any], form: CallForm, anchor: str, tokenizer: Any) -> bool:
    for arguments in _PROBES:
        written = json.dumps(arguments, ensure_ascii=False)
        calls = [
            WrittenCall(name=name, arguments_text=written, id=one)
            for name, one in zip(NAMES, IDS, strict=True)
        ]
        for text, wanted in (
            (TEXT + form.end_of_turn, []),
            (write_calls(calls[:1], form) + form.end_of_turn, calls[:1]),
            *([(write_calls(calls, form) + form.end_of_turn, calls)] if form.parallel else []),
        ):
            try:
                reply = tokenizer.parse_response(text, found, prefix=anchor)
            except (ValueError, KeyError, TypeError):
                return False
            if not _is(reply, wanted, arguments):
                return False
    return True


def _is(reply: dict[str, Any], calls: list[WrittenCall], arguments: dict[str, Any]) -> bool:
    got = [one["function"] for one in reply.get("tool_calls") or []]
    wanted = [{"name": one.name, "arguments": arguments} for one in calls]
    return got == wanted and (bool(calls) or reply.get("content") == TEXT)
