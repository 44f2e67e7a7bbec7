"""Grammars of replies that are one call, in the notation of llguidance, which is a Lark of its own.

Arguments fit the schema as far as the form lets a grammar say it: JSON does whole. Elements and
loose objects hold listed properties in their order, and texts without the character that begins
what ends them; what a schema says of values within values binds in JSON only. Also where a reply in
a form has ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from ste_ray.core.native_calls.form import CallForm, Elements, ValueType
from ste_ray.core.native_calls.loose_values import loose_text
from ste_ray.core.native_calls.writing import element_text
from ste_ray.core.schemas.definitions import PREFIX

#: What may stand in the place of an id, as a regular expression.
ID_PATTERN = "[a-zA-Z0-9]{9}"
#: Writes a fixed text as the notation has it, special tokens in it as tokens.
Literal = Callable[[str], str]

#: Numbers that are values: a double holds each. Any number of JSON would go up to 1e999 and on.
NUMBER_PATTERN = r"-?(0|[1-9][0-9]{0,199})(\.[0-9]{1,200})?([eE][+-]?[0-9]{1,2})?"
INTEGER_PATTERN = "-?(0|[1-9][0-9]{0,199})"
_ANY = f"""\
loose: quoted | NUMBER | "true" | "false" | "null" | list | object
list: "[" (loose ("," loose)*)? "]"
object: "{{" (KEY ":" loose ("," KEY ":" loose)*)? "}}"
NUMBER: /{NUMBER_PATTERN}/
KEY: /[A-Za-z_][A-Za-z0-9_.-]*/"""
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "$comment", "$defs"}
)
# What a schema may say of a number without restricting it.
_FREE = _ANNOTATIONS | {"type", "format"}
_SCALARS = ("number", "integer", "boolean", "null")


def call_grammar(
    form: CallForm, schemas: Mapping[str, Mapping[str, Any]], literal: Literal
) -> str | None:
    """Return the grammar of replies that are one call of one of the tools, behind the prompt.

    Args:
        form: of the calls.
        schemas: tool, as it is called here -> plain JSON Schema of its arguments.
        literal: writes a fixed text.

    Returns:
        The rules, from ``start`` on; None: a grammar cannot say this form.
    """
    maker = _Rules(form, literal)
    if not maker.can_say:
        return None
    calls = [maker.call(number, *item) for number, item in enumerate(sorted(schemas.items()))]
    return "\n".join([f"start: {' | '.join(calls)}", *maker.rules])


def stop_texts(form: CallForm) -> tuple[str, ...]:
    """Return the texts at which a reply has ended, wherever they stand.

    Special tokens write them, so look for them as tokens where that is possible: an argument may
    hold the same text.
    """
    rest = form.closing[len(form.after_calls) :] if form.parallel else form.closing
    found = [form.end_mark, rest.strip()]
    return tuple(text for text in found if any(char.isalnum() for char in text))


class _Rules:
    """Makes the rules of one grammar."""

    def __init__(self, form: CallForm, literal: Literal) -> None:
        self._form = form
        self._literal = literal
        self.rules: list[str] = []
        elements = form.elements
        stop = (elements.next if elements else form.quote).strip()[:1]
        self._text = rf"/[^{re.escape(stop)}]*/"
        self.can_say = form.arguments == "json" or bool(stop and not stop.isalnum())
        if form.arguments == "loose":
            mark = literal(form.quote)
            self.rules += [f"quoted: {mark} {self._text} {mark}", *_ANY.splitlines()]

    def call(self, number: int, name: str, schema: Mapping[str, Any]) -> str:
        """Add the rules of a tool's call, and return the name of the first."""
        form = self._form
        rule = f"call_{number}"
        written = json.dumps(name, ensure_ascii=False)[1:-1] if form.is_object else name
        fixed = form.opening[len(form.started) :] + form.gaps[0]
        parts: list[str] = []
        for slot, gap in zip(form.slots, form.gaps[1:], strict=True):
            if slot in ("name", "index"):
                fixed += written if slot == "name" else str(form.first_index)
            else:
                parts.append(self._fixed(fixed))
                fixed = ""
                of_slot = f"/{ID_PATTERN}/" if slot == "id" else self._arguments(rule, schema)
                parts.append(of_slot)
            fixed += gap
        # What ends elements is one text with what closes the call: they begin alike.
        parts.append(self._fixed(fixed + ("" if form.elements else form.closing)))
        self.rules.append(f"{rule}: {' '.join(filter(None, parts))}")
        return rule

    def _fixed(self, text: str) -> str:
        return self._literal(text) if text else ""

    def _arguments(self, rule: str, schema: Mapping[str, Any]) -> str:
        if self._form.arguments == "json":
            self.rules.append(f"{rule}_json: %json {json.dumps(schema)}")
            return f"{rule}_json"
        elements = self._form.elements
        if elements is None:
            return self._chain(rule, schema, ("{", ",", "}", "{}"), self._loose)
        last, none = (one + self._form.closing for one in (elements.last, elements.none))
        ends = (elements.first, elements.next, last, none)
        return self._chain(rule, schema, ends, self._element)

    def _chain(
        self,
        rule: str,
        schema: Mapping[str, Any],
        ends: tuple[str, str, str, str],
        entry: Callable[[str, str, Sequence[Any]], str],
    ) -> str:
        """Add rules of listed properties in their order, of which the required ones are there."""
        first, following, last, none = ends
        definitions = schema.get("$defs", {})
        listed = [
            (key, _alternatives(one, definitions))
            for key, one in schema.get("properties", {}).items()
            if one is not False
        ]
        required = {key for key, _ in listed} & set(schema.get("required", ()))
        entries = [entry(f"{rule}_{place}", key, one) for place, (key, one) in enumerate(listed)]

        def ways(place: int, before: str, end: str) -> str:
            found = []
            for number in range(place, len(listed)):
                found.append(f"{self._behind(before)} {entries[number]} {rule}_tail_{number}")
                if listed[number][0] in required:
                    return " | ".join(found)
            return " | ".join([*found, self._behind(end)])

        for number in range(len(listed)):
            self.rules.append(f"{rule}_tail_{number}: {ways(number + 1, following, last)}")
        self.rules.append(f"{rule}_arguments: {ways(0, first, none)}")
        return f"{rule}_arguments"

    def _behind(self, text: str) -> str:
        """Return a fixed text behind a value, which may have taken the white space before it."""
        space = text[: len(text) - len(text.lstrip())]
        return (
            f"({self._literal(space)})? {self._literal(text[len(space) :])}"
            if space
            else (self._literal(text))
        )

    def _element(self, rule: str, key: str, schemas: Sequence[Any]) -> str:
        elements = self._form.elements
        assert elements is not None, "only forms with elements have any"
        ways = [
            f"{self._literal(key + elements.after_key[kind])} {self._value(schema, kind, elements)}"
            for schema in schemas
            for kind in _kinds(schema)
        ]
        self.rules.append(f"{rule}: {' | '.join(dict.fromkeys(ways))}")
        return rule

    def _value(self, schema: Any, kind: ValueType, elements: Elements) -> str:
        if isinstance(schema, dict) and schema.get("enum"):
            texts = [element_text(one, elements) for one in schema["enum"]]
            return f"({' | '.join(map(self._literal, texts))})"
        if kind == "string":
            return r"/'[^'\\\n]*'/" if elements.literal else self._text
        if kind == "boolean" and elements.python:
            return '("True" | "False")'
        if kind == "null" and elements.python:
            return '"None"'
        own = schema if isinstance(schema, dict) else {}
        return _json({**own, "type": _json_type(own, kind)})

    def _loose(self, rule: str, key: str, schemas: Sequence[Any]) -> str:
        values = dict.fromkeys(value for one in schemas for value in self._loose_values(one))
        self.rules.append(f"{rule}: {self._literal(f'{key}:')} ({' | '.join(values)})")
        return rule

    def _loose_values(self, schema: Any) -> Iterator[str]:
        own = schema if isinstance(schema, dict) else {}
        if own.get("enum"):
            yield from (self._literal(loose_text(one, self._form.quote)) for one in own["enum"])
            return
        for kind in _listed(own.get("type")):
            if kind == "string":
                yield "quoted"
            else:
                yield _json({**own, "type": kind}) if kind in _SCALARS else "loose"


def _alternatives(
    schema: Any, definitions: Mapping[str, Any], met: tuple[str, ...] = ()
) -> list[Any]:
    """Return schemas of which a value must fit one, with what they refer to."""
    if not isinstance(schema, dict):
        return [schema]
    ways = [one for one in schema.get("anyOf", ()) if one is not False]
    if ways and _ANNOTATIONS.issuperset(schema.keys() - {"anyOf"}):
        return [found for one in ways for found in _alternatives(one, definitions, met)]
    name = str(schema.get("$ref", "")).removeprefix(PREFIX)
    if name in definitions and name not in met:
        return _alternatives(definitions[name], definitions, (*met, name))
    return [{**schema, "$defs": definitions} if definitions else schema]


def _json(schema: Mapping[str, Any]) -> str:
    """Return what stands for JSON of a schema; numbers that it does not bound are bound here."""
    pattern = {"number": NUMBER_PATTERN, "integer": INTEGER_PATTERN}.get(str(schema.get("type")))
    if pattern is None or not all(key in _FREE or key.startswith("x-") for key in schema):
        return f"%json {json.dumps(schema)}"
    return f"/{pattern}/"


def _kinds(schema: Any) -> list[ValueType]:
    """Return of which types a value may be; a text where nothing says it."""
    listed = schema.get("type", "string") if isinstance(schema, dict) else "string"
    names = ["number" if one == "integer" else one for one in _listed(listed)]
    return [kind for kind in get_args(ValueType) if kind in names] or ["string"]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _json_type(schema: Mapping[str, Any], kind: ValueType) -> str:
    listed = schema.get("type")
    whole = listed == "integer" or (isinstance(listed, list) and "number" not in listed)
    return "integer" if kind == "number" and whole else kind
