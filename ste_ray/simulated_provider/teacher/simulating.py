"""Stands in for a tool: answers a call from nothing but what is documented about it.

Where the schema of the results is documented, the answer fits it, with texts as plausible as their
descriptions allow. Read are types, bounds, lengths, enumerations, constants, the usual formats,
references within the schema, and of alternatives the first; patterns are not. A value named like an
argument of the call repeats it where it fits. The number of values and their depth are bounded.
Otherwise the arguments come back with a few values made up beside them. It looks like an answer and
is none: nothing is computed, and no argument is refused.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping
from typing import Any

from ste_ray.core.schemas.matching import Matcher
from ste_ray.simulated_provider.teacher.conversation import json_at
from ste_ray.simulated_provider.teacher.drawing import Scene, draw, written
from ste_ray.simulated_provider.teacher.loading import data
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool, read_tools

_ARGUMENTS = "\nArguments of the call:\n"
_RETURNS = re.compile(r"^Returns: ", re.M)
_FAULTS = ("error", "errors")  # keys that make a result look like a refusal
_MAX_DEPTH = 6
_MAX_JOINS = 3  # of allOf within allOf
_MAX_VALUES = 60  # the answer must fit into a reply
_MAX_ITEMS = 2
_MAX_CHARS = 200  # of one text
_LARGEST = 1e15
_COMBINING = ("$ref", "anyOf", "oneOf", "allOf")


def simulate(prompt: str, rng: random.Random) -> str:
    """Return the answer of the tool that ``prompt`` describes, as JSON."""
    documented, _, rest = prompt.rpartition(_ARGUMENTS)
    tools, arguments = read_tools(documented), json_at(rest)
    if not tools or not isinstance(arguments, dict):
        return json.dumps({"error": "the call cannot be read"})
    schemas = (json_at(documented, match.end()) for match in _RETURNS.finditer(documented))
    last = [schema for schema in schemas if isinstance(schema, dict)][-1:]
    if last:  # a description may hold anything; the schema comes after it
        value = _ValueMaker(last[0], tools[0], arguments, rng).make(last[0])
    else:
        made = {"result": round(rng.uniform(1, 1000), 2), "reference": written("########", rng)}
        echoed = {key: _shortened(item) for key, item in arguments.items() if key not in _FAULTS}
        value = {**made, "updated": written("{day}", rng), **echoed}
    return json.dumps(value, ensure_ascii=False)


class _ValueMaker:
    """Makes the results of one call.

    Args:
        root: the schema that references point into.
        tool: what is documented about the tool.
        arguments: of the call.
        rng: decides all that is made up.
    """

    def __init__(
        self, root: dict[str, Any], tool: Tool, arguments: Mapping[str, Any], rng: random.Random
    ) -> None:
        self._root = root
        self._about = tool.description
        self._arguments = arguments
        self._rng = rng
        self._scene = Scene(rng, tool.description)
        self._num_left = _MAX_VALUES

    def make(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """Return a value for ``schema``; ``name`` is that of the property that will hold it."""
        self._num_left -= 1
        schema = self._plain(schema)
        kind = _type_of(schema)
        if name in _FAULTS:
            return {"string": "", "array": [], "object": {}, "boolean": False}.get(kind)
        if name in self._arguments and _fits(self._arguments[name], schema, kind):
            return _shortened(self._arguments[name])
        if "const" in schema:
            return schema["const"]
        if options := _get(schema, "enum", list):
            return self._rng.choice(options)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind == "string":
            return self._text(schema, name)
        if kind == "boolean":
            return self._rng.random() < 0.7
        return self._number(schema, kind) if kind in ("integer", "number") else None

    def _plain(self, schema: Any, joins: int = 0) -> dict[str, Any]:
        """Follow references, take the first alternative that is not null, join ``allOf``."""
        for _ in range(_MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            rest = {key: item for key, item in schema.items() if key not in _COMBINING}
            choices = _get(schema, "anyOf", list) or _get(schema, "oneOf", list)
            if "$ref" in schema:
                schema = rest | self._found(schema["$ref"])
            elif choices:
                listed = [item for item in choices if isinstance(item, dict)]
                schema = rest | next((one for one in listed if one.get("type") != "null"), {})
            elif joins < _MAX_JOINS and (parts := _get(schema, "allOf", list)):
                schema = _joined(rest, [self._plain(part, joins + 1) for part in parts])
            else:
                return rest
        return {}

    def _found(self, reference: Any) -> dict[str, Any]:
        value: Any = self._root
        for part in str(reference).removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """Make what is required first: what is optional is left out when there is enough."""
        properties, wanted = _get(schema, "properties", dict), _get(schema, "required", list)
        made: dict[str, Any] = {}
        for name in sorted(properties, key=lambda name: name not in wanted):
            optional = name in _FAULTS or depth >= _MAX_DEPTH or self._num_left <= 0
            if not (self._is_too_much(depth) if name in wanted else optional):
                made[name] = self.make(properties[name], name, depth + 1)
        return {name: made[name] for name in properties if name in made}

    def _is_too_much(self, depth: int) -> bool:
        """Whether even what is required is left out: schemas may ask for themselves."""
        return depth >= 2 * _MAX_DEPTH or self._num_left <= -_MAX_VALUES

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = min(_get(schema, "minItems", int), _MAX_VALUES)
        enough = "items" not in schema or depth >= _MAX_DEPTH or self._num_left <= 0
        number = least if enough else max(least, _MAX_ITEMS)
        if "maxItems" in schema:
            number = min(number, _get(schema, "maxItems", int))
        number = 0 if self._is_too_much(depth) else number
        return [self.make(schema.get("items"), name, depth + 1) for _ in range(number)]

    def _number(self, schema: dict[str, Any], kind: str) -> float:
        step = max(1, _get(schema, "multipleOf", int)) if kind == "integer" else 0
        low = _bound(schema, "minimum", "exclusiveMinimum", bool(step))
        high = _bound(schema, "maximum", "exclusiveMaximum", -bool(step))
        if low is None:
            low = 0.0 if high is None else min(0.0, high - 100)
        high = low + 100 if high is None else max(low, high)
        if step:
            first, last = math.ceil(low / step), math.floor(high / step)
            return step * self._rng.randint(first, max(first, last))
        value = low + (high - low) * self._rng.uniform(0.05, 0.95)
        short = round(value, 2)
        return short if low < short < high else value

    def _text(self, schema: dict[str, Any], name: str) -> str:
        template = data("formats").get(str(schema.get("format")))
        if template:
            return written(template, self._rng)
        said = {"description": schema.get("description", ""), "default": schema.get("default")}
        examples = _get(schema, "examples", list)
        parameter = Parameter(
            name, True, {**said, "type": "string", "examples": examples}, self._about
        )
        if parameter.examples:
            text = self._rng.choice(parameter.examples)
        else:
            text = str(draw(parameter, self._scene).forms[0])
        most = _get(schema, "maxLength", int) if "maxLength" in schema else _MAX_CHARS
        least = min(_get(schema, "minLength", int), _MAX_CHARS)
        return text.ljust(least, "x")[: max(0, most)]


def _shortened(value: Any) -> Any:
    return value[:_MAX_CHARS] if isinstance(value, str) else value


def _joined(rest: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for part in (*parts, rest):
        properties = _get(joined, "properties", dict) | _get(part, "properties", dict)
        required = [*_get(joined, "required", list), *_get(part, "required", list)]
        joined |= part | ({"properties": properties, "required": required} if properties else {})
    return joined


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _fits(value: Any, schema: dict[str, Any], kind: str) -> bool:
    """Whether an argument may be repeated as a value for ``schema``; only plain ones may."""
    is_plain = isinstance(value, str | int | float) and "const" not in schema
    return is_plain and Matcher({}).fits({**schema, "type": kind}, value) is True


def _bound(schema: dict[str, Any], plain: str, exclusive: str, step: int) -> float | None:
    for key, moved in ((exclusive, step), (plain, 0)):
        value = schema.get(key)
        if isinstance(value, int | float) and value is not True and abs(value) <= _LARGEST:
            return float(value) + moved
    return None


def _get(schema: dict[str, Any], key: str, kind: type[Any]) -> Any:
    """Return a member of a schema; where it is missing or malformed, an empty one."""
    value = schema.get(key)
    return value if isinstance(value, kind) and not isinstance(value, bool) else kind()
