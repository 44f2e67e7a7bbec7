"""Makes JSON values that fit a JSON Schema, with texts as plausible as their descriptions allow.

Read are types, bounds, lengths, enumerations, constants, the usual formats, references within the
schema, and of alternatives the first; patterns are not. A value named like an argument of the call
repeats it where it fits. The number of values and their depth are bounded.
"""

from __future__ import annotations

import datetime
import math
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ste_ray.simulated_provider.teacher.kind import Scene
from ste_ray.simulated_provider.teacher.lexicon import kind_of
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool

FAULTS = ("error", "errors")  # keys that make a result look like a refusal
_MAX_DEPTH = 6
_MAX_JOINS = 3  # of allOf within allOf
_MAX_VALUES = 60  # the answer must fit into a reply
_MAX_ITEMS = 2
_MAX_CHARS = 200  # of one text
_LARGEST = 1e15
_EMPTY: Mapping[str, Any] = {"string": "", "array": [], "object": {}, "boolean": False}
_COMBINING = ("$ref", "anyOf", "oneOf", "allOf")
_READ_OF_TEXTS = ("description", "default", "examples")


class ValueMaker:
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
        self._tool = tool
        self._arguments = arguments
        self._rng = rng
        self._scene = Scene(rng, {"topic": tool.description.lower()})
        self._num_left = _MAX_VALUES

    def make(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """Return a value for ``schema``; ``name`` is that of the property that will hold it."""
        self._num_left -= 1
        schema = self._plain(schema)
        kind = _type_of(schema)
        if name in FAULTS:
            return _EMPTY.get(kind)
        argument = self._arguments.get(name)
        if _fits(argument, schema, kind):
            return shortened(argument)
        if "const" in schema:
            return schema["const"]
        if _listed(schema, "enum"):
            return self._rng.choice(schema["enum"])
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        return self._scalar(schema, name, kind)

    def _plain(self, schema: Any, depth: int = 0) -> dict[str, Any]:
        """Follow references, take the first alternative that is not null, join ``allOf``."""
        for _ in range(_MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            rest = {key: item for key, item in schema.items() if key not in _COMBINING}
            choices = _listed(schema, "anyOf") or _listed(schema, "oneOf")
            if "$ref" in schema:
                schema = rest | self._found(schema["$ref"])
            elif choices:
                schema = rest | _first(choices)
            elif "allOf" in schema:
                schema = self._joined(rest, _listed(schema, "allOf"), depth)
            else:
                return rest
        return {}

    def _joined(self, rest: dict[str, Any], parts: list[Any], depth: int) -> dict[str, Any]:
        joined = dict(rest)
        for item in parts if depth < _MAX_JOINS else []:
            part = self._plain(item, depth + 1)
            properties = _mapping(part, "properties") | _mapping(joined, "properties")
            required = [*_listed(part, "required"), *_listed(joined, "required")]
            joined = part | joined
            if properties:
                joined |= {"properties": properties, "required": required}
        return joined

    def _found(self, reference: Any) -> dict[str, Any]:
        value: Any = self._root
        for part in str(reference).removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """Make what is required first: what is optional is left out when there is enough."""
        properties = _mapping(schema, "properties")
        required = [name for name in properties if name in _listed(schema, "required")]
        made: dict[str, Any] = {}
        for name in required:
            if not self._is_too_much(depth):
                made[name] = self.make(properties[name], name, depth + 1)
        for name, item in properties.items():
            if name in made or name in FAULTS or depth >= _MAX_DEPTH or self._num_left <= 0:
                continue
            made[name] = self.make(item, name, depth + 1)
        return {name: made[name] for name in properties if name in made}

    def _is_too_much(self, depth: int) -> bool:
        """Whether even what is required is left out: schemas may ask for themselves."""
        return depth >= 2 * _MAX_DEPTH or self._num_left <= -_MAX_VALUES

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = min(_whole(schema.get("minItems"), 0), _MAX_VALUES)
        enough = "items" not in schema or depth >= _MAX_DEPTH or self._num_left <= 0
        number = least if enough else max(least, _MAX_ITEMS)
        number = min(number, _whole(schema.get("maxItems"), number))
        if self._is_too_much(depth):
            number = 0
        return [self.make(schema.get("items"), name, depth + 1) for _ in range(number)]

    def _scalar(self, schema: dict[str, Any], name: str, kind: str) -> Any:
        if kind == "boolean":
            return self._rng.random() < 0.7
        if kind == "integer":
            return self._integer(schema)
        if kind == "number":
            return self._number(schema)
        return self._text(schema, name) if kind == "string" else None

    def _integer(self, schema: dict[str, Any]) -> int:
        low, high = _range(schema, 1)
        step = max(1, _whole(schema.get("multipleOf"), 1))
        first, last = math.ceil(low / step), math.floor(high / step)
        return step * self._rng.randint(first, max(first, last))

    def _number(self, schema: dict[str, Any]) -> float:
        low, high = _range(schema, 0)
        value = low + (high - low) * self._rng.uniform(0.05, 0.95)
        short = round(value, 2)
        return short if low < short < high else value

    def _text(self, schema: dict[str, Any], name: str) -> str:
        form = _FORMATS.get(str(schema.get("format")))
        if form is not None:
            return form(self._rng)
        said = {key: schema[key] for key in _READ_OF_TEXTS if key in schema}
        said |= {"type": "string", "examples": _listed(schema, "examples")}
        parameter = Parameter(name, True, said)
        if parameter.examples:
            text = self._rng.choice(parameter.examples)
        else:
            value = kind_of(parameter, self._tool).make(self._scene, parameter)
            text = str(value.forms[0] if value.forms else value.said)
        least = min(_whole(schema.get("minLength"), 0), _MAX_CHARS)
        return text.ljust(least, "x")[: max(0, _whole(schema.get("maxLength"), _MAX_CHARS))]


def shortened(value: Any) -> Any:
    """Return a value that is repeated, cut where it is a long text."""
    return value[:_MAX_CHARS] if isinstance(value, str) else value


def day(rng: random.Random) -> str:
    """Return a date."""
    return (datetime.date(2024, 1, 1) + datetime.timedelta(rng.randrange(730))).isoformat()


def _time(rng: random.Random) -> str:
    return f"{rng.randrange(24):02}:{rng.randrange(60):02}:00Z"


def _address(rng: random.Random) -> str:
    return f"https://example.org/{rng.randrange(16**6):06x}"


_FORMATS: Mapping[str, Callable[[random.Random], str]] = {
    "date": day,
    "date-time": lambda rng: f"{day(rng)}T{_time(rng)}",
    "time": _time,
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "uri": _address,
    "url": _address,
    "email": lambda rng: f"user{rng.randrange(1000)}@example.org",
    "ipv4": lambda rng: f"192.0.2.{rng.randrange(1, 255)}",
}


def _first(choices: list[Any]) -> dict[str, Any]:
    listed = [item for item in choices if isinstance(item, dict)]
    return next((item for item in listed if item.get("type") != "null"), {})


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _fits(value: Any, schema: dict[str, Any], kind: str) -> bool:
    """Whether an argument may be repeated as a value for ``schema``; only plain ones may."""
    if "const" in schema or "pattern" in schema:
        return False
    if _listed(schema, "enum"):
        return value is not None and value in schema["enum"]
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind == "string" and isinstance(value, str):
        least, most = schema.get("minLength"), schema.get("maxLength")
        return _whole(least, 0) <= len(value) <= _whole(most, len(value))
    if kind == "integer" and not isinstance(value, int):
        return False
    if kind in ("integer", "number") and isinstance(value, int | float):
        low, high = _range(schema, 0)
        given = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} & schema.keys()
        return not given or low < value < high
    return False


def _range(schema: dict[str, Any], step: int) -> tuple[float, float]:
    """Return the bounds of a number; exclusive ones are moved inwards by ``step``."""
    low = _bound(schema, "minimum", "exclusiveMinimum", step)
    high = _bound(schema, "maximum", "exclusiveMaximum", -step)
    if low is None:
        low = min(0.0, high - 100) if high is not None else 0.0
    return low, max(low + 100, 100.0) if high is None else max(low, high)


def _bound(schema: dict[str, Any], plain: str, exclusive: str, step: int) -> float | None:
    for key, moved in ((exclusive, step), (plain, 0)):
        value = schema.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if abs(value) <= _LARGEST:
            return float(value) + moved
    return None


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _mapping(schema: dict[str, Any], key: str) -> dict[str, Any]:
    value = schema.get(key)
    return value if isinstance(value, dict) else {}


def _listed(schema: dict[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []
