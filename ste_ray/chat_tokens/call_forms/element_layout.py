"""Arguments of which each is an element of its own, found in a marked call."""

from __future__ import annotations

import json
import re
from typing import Any

from ste_ray.chat_tokens.call_forms.assembling import Span, put_together, slots_before
from ste_ray.chat_tokens.call_forms.differences import shared_end
from ste_ray.chat_tokens.call_forms.probes import KEYS, VALUES
from ste_ray.chat_tokens.call_forms.turns import FormError, Outline, Turns
from ste_ray.core.native_calls.form import CallForm, Elements, ValueType

_SAMPLES: dict[ValueType, Any] = {
    "number": 7,
    "boolean": True,
    "null": None,
    "array": ["vqitem"],
    "object": {"kqinner": "vqinner"},
}


def as_elements(turns: Turns, found: Outline) -> CallForm | None:
    """Find arguments that are written as one element each."""
    text = found.written
    key = text.find(KEYS[0], found.name)
    value = text.find(VALUES[0], key)
    two = turns.one({KEYS[0]: VALUES[0], KEYS[1]: VALUES[1]})
    none = turns.one({})
    first_end = two.find(VALUES[0]) + len(VALUES[0])
    following = two.find(KEYS[1], first_end)
    if key < 0 or value < 0 or following < 0 or VALUES[1] not in two[following:]:
        return None
    slots = slots_before(turns, found, Span(key, key, "elements"))
    name_end = max(end for _, end in slots.values() if end < key)
    closing = text[value + len(VALUES[0]) : found.closes]
    without = none[name_end : _closes(none, found)]
    rest = shared_end(closing, without)
    if not any(char.isalnum() for char in rest):
        return None
    last = closing[: len(closing) - len(rest)]
    of_texts = text[key + len(KEYS[0]) : value]
    if re.match(r"""['"]\s*:""", of_texts):
        return None  # a mapping as Python prints it: no template means that
    after_key, python = _typed(turns, found, of_texts, closing)
    elements = Elements(
        first=text[name_end:key],
        after_key=after_key,
        next=two[first_end:following],
        last=last,
        none=without[: len(without) - len(rest)],
        python=python,
    )
    slots["arguments"] = (name_end, value + len(VALUES[0]) + len(last))
    quote = elements.last[:1] if elements.last[:1] in ("'", '"') else ""
    if quote and of_texts.endswith(quote) and elements.next.startswith(quote):
        shorter = {"last": elements.last[1:], "next": elements.next[1:], "literal": True}
        behind = dict.fromkeys(after_key, of_texts[:-1])
        elements = elements.model_copy(update={**shorter, "after_key": behind})
    return put_together(
        turns, found, slots, None, is_object=False, arguments="elements", elements=elements
    )


def _closes(text: str, found: Outline) -> int:
    ends = bool(found.tail.strip()) and text.endswith(found.tail)
    return len(text) - len(found.tail) if ends else len(text)


def _typed(
    turns: Turns, found: Outline, of_texts: str, closing: str
) -> tuple[dict[ValueType, str], bool]:
    """Return what stands between key and value by type, and whether values are Python's."""
    behind_key: dict[ValueType, str] = {"string": of_texts}
    python = False
    for kind, sample in _SAMPLES.items():
        behind_key[kind] = of_texts
        try:
            text = turns.one({KEYS[0]: sample})
        except FormError:
            continue
        body = text[: _closes(text, found)]
        start = body.find(KEYS[0], found.name) + len(KEYS[0])
        if start < found.name or not body.endswith(closing):
            continue
        region = body[start : len(body) - len(closing)]
        as_json, as_python = json.dumps(sample), repr(sample)
        for written in (as_json, as_python):
            if region.endswith(written):
                behind_key[kind] = region[: len(region) - len(written)]
                python |= written != as_json
                break
    return behind_key, python
