"""What constrained decoding needs besides the grammar of native calls, form by form.

Which tokens write a form's marks, where a call ends, and what of a schema a form can say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from ste_ray.core.native_calls.form import CallForm, WrittenCall
from ste_ray.core.native_calls.grammar import Literal
from ste_ray.core.native_calls.writing import write_calls
from ste_ray.core.records import canonical_json
from ste_ray.generation.grammar_merging import smallest

_AN_ID = "abcdefgh1"


def writer(marks: Mapping[str, int]) -> Literal:
    """Return what writes a fixed text for a grammar, its marks as the tokens that they are.

    Args:
        marks: text of a token -> its id.
    """
    by_length = sorted(marks, key=len, reverse=True)
    pattern = re.compile(f"({'|'.join(map(re.escape, by_length))})") if marks else None

    def write(text: str) -> str:
        parts = pattern.split(text) if pattern is not None else [text]
        found = [f"<[{marks[one]}]>" if one in marks else json.dumps(one) for one in parts if one]
        return " ".join(found) or '""'

    return write


def ending_form(form: CallForm, ends: Collection[str]) -> CallForm:
    """Return a form whose calls end before the first token that ends a reply.

    Args:
        form: of the calls.
        ends: the texts of these tokens.
    """
    places = [form.closing.find(one) for one in ends]
    first = min((place for place in places if place >= 0), default=len(form.closing))
    return form.model_copy(update={"closing": form.closing[:first]})


def says_all(form: CallForm) -> bool:
    """Whether arguments are JSON, in which all of a schema can be said."""
    return form.arguments == "json"


def listed(schema: Mapping[str, Any], *, loosely: bool = False) -> dict[str, Any]:
    """Return a schema as a form with a place for each argument can say it: by its properties.

    Args:
        schema: as ``GrammarSchema`` makes them: an object, or alternatives of some.
        loosely: keep the types and enumerations of arguments alone.
    """
    ways = [one for one in schema.get("anyOf", [schema]) if isinstance(one, dict)]
    properties: dict[str, Any] = {}
    for way in ways:
        properties |= way.get("properties", {})
    required = set(properties).intersection(*(way.get("required", ()) for way in ways))
    if loosely:
        properties = {name: _loosened(one) for name, one in properties.items()}
    found = {
        "type": "object",
        "properties": {name: properties[name] for name in sorted(properties)},
        "required": sorted(required),
        "additionalProperties": False,
    }
    definitions = schema.get("$defs")
    return {**found, "$defs": definitions} if definitions and not loosely else found


def _loosened(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("anyOf"), list):
        return {"anyOf": [_loosened(one) for one in schema["anyOf"]]}
    return {key: schema[key] for key in ("type", "enum") if key in schema}


def shortest_call(name: str, schema: Mapping[str, Any], form: CallForm) -> str:
    """Return about the shortest call of a tool, as the form writes it."""
    return _call(name, canonical_json(smallest(schema)), form)


def fullest_call(name: str, schema: Mapping[str, Any], form: CallForm) -> str:
    """Return about the shortest call with all arguments that a schema lists."""
    every = {**schema, "required": list(schema.get("properties", {}))}
    return _call(name, canonical_json(smallest(every)), form)


def _call(name: str, arguments: str, form: CallForm) -> str:
    call = WrittenCall(name=name, arguments_text=arguments, id=_AN_ID)
    return write_calls([call], form)[len(form.started) :]


def value_ends(form: CallForm) -> str:
    """Return the characters that end values which are no JSON; empty: all are."""
    if says_all(form):
        return ""
    if form.elements is None:
        return form.quote.strip()[:1]
    last = (form.elements.last + form.closing).strip()[:1]
    return last + ("'" if form.elements.literal else form.elements.next.strip()[:1])
