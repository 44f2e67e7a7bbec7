"""YAML and JSON as this project reads them: YAML 1.2's core schema, and no key given twice.

The parser is PyYAML's, in C where it is there, with the resolvers of version 1.2 in the place of
its own, which are those of 1.1: ``NO``, ``yes``, ``12:30`` and ``1_000`` are texts, ``010`` is ten,
``0o10`` is eight and ``1e3`` a thousand. A date stays text, as JSON would hold it. Merge keys
(``<<``), which 1.2 no longer has, are still understood. (ruamel.yaml reads 1.2 too: in C a third
more slowly, refusing ``[12:30]``, and in Python four times as slowly.)
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import yaml

# The parser in C, where it is there, is four times as fast: tool files can be large.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 200
_MAX_VALUES = 2_000_000  # of a document whose aliases are written out
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
# The tags of plain scalars, how they are written, and the characters that they begin with.
RESOLVERS = (
    (f"{_TAG}bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (f"{_TAG}int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        f"{_TAG}float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    (f"{_TAG}null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_MERGE, r"<<", "<"),
)
# What can nest deeply: many brackets, much indentation, or lists within lists on a line.
_DEEP_BLOCKS = re.compile(rf"^ {{{_MAX_DEPTH}}}|(?:[-?][ \t]+){{{_MAX_DEPTH // 2}}}", re.MULTILINE)
_PLACE = re.compile(r'\s+in "<[a-z ]+>", (line \d+, column \d+)')


class DuplicateKeyError(ValueError):
    """A mapping gives a key twice; the message names the key and, where it is known, the line."""


class Written:
    """A plain scalar that is no text, with the text that stands in the document.

    Attributes:
        text: as it was written.
        value: what it stands for: a number, a truth value or None.
    """

    __slots__ = ("text", "value")

    def __init__(self, text: str, value: Any) -> None:
        self.text = text
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Written) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class _Loader(_SafeLoader):  # type: ignore[misc]  # chosen at run time
    """The safe loader with the core schema of YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def flatten_mapping(self, node: Any) -> None:
        """Refuse a key that is given twice; then put in what is merged from elsewhere."""
        checked = self.__dict__.setdefault("_checked", set())
        if id(node) not in checked:  # merged keys may be given again by whoever merges
            checked.add(id(node))
            _refuse_repeated(node)
        super().flatten_mapping(node)


class _WrittenLoader(_Loader):
    """The same, with ``Written`` for numbers, truth values and nulls."""


def _refuse_repeated(node: Any) -> None:
    seen: dict[tuple[str, Any], Any] = {}
    for key, _ in node.value:
        if isinstance(key.value, str) and key.tag != _MERGE:
            first = seen.setdefault((key.tag, key.value), key)
            if first is not key:
                raise DuplicateKeyError(
                    f"the key {key.value!r} is given twice, in line {first.start_mark.line + 1} "
                    f"and in line {key.start_mark.line + 1}; give each key once"
                )


def _bool(loader: Any, node: Any) -> bool:
    text: str = loader.construct_scalar(node).lower()
    if text not in ("true", "false"):  # where a tag says so
        raise yaml.constructor.ConstructorError(None, None, f"{text!r} is no bool", node.start_mark)
    return text == "true"


def _int(loader: Any, node: Any) -> int:
    text: str = loader.construct_scalar(node)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    try:
        return int(text[2:] if base != 10 else text, base)
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def _float(loader: Any, node: Any) -> float:
    text: str = loader.construct_scalar(node)
    try:
        return float(re.sub(r"\.(?=[inIN])", "", text))
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def _null(loader: Any, node: Any) -> None:
    loader.construct_scalar(node)


def _text(loader: Any, node: Any) -> str:
    text: str = loader.construct_scalar(node)
    return text


def _written(construct: Any) -> Any:
    def build(loader: Any, node: Any) -> Any:
        value = construct(loader, node)
        return Written(node.value, value) if not node.style else value  # plain: no quotes

    return build


for _name, _pattern, _first in RESOLVERS:
    _Loader.add_implicit_resolver(_name, re.compile(rf"(?:{_pattern})\Z"), list(_first))
for _name, _construct in (("bool", _bool), ("int", _int), ("float", _float), ("null", _null)):
    _Loader.add_constructor(f"{_TAG}{_name}", _construct)
    _WrittenLoader.add_constructor(f"{_TAG}{_name}", _written(_construct))
_Loader.add_constructor(_MERGE, _text)  # it merges where it is a key, and is text elsewhere
_WrittenLoader.add_constructor(_MERGE, _text)


def load_yaml(text: str, *, written: bool = False) -> Any:
    """Parse ``text``.

    Args:
        text: of one document.
        written: give ``Written`` in place of numbers, truth values and nulls.

    Raises:
        yaml.YAMLError: it is no YAML.
        DuplicateKeyError: a mapping gives a key twice.
        ValueError: it is nested too deeply, holds itself, or is huge by repetition.
    """
    try:
        _refuse_deep(text)
        return _loaded(text, _WrittenLoader if written else _Loader)
    except yaml.MarkedYAMLError as error:
        # The caller knows what the text is called; the parser says '<unicode string>'.
        text = _PLACE.sub(r" (\1)", str(error))
        raise yaml.YAMLError(" ".join(text.split())) from None


def _loaded(text: str, kind: Any) -> Any:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if "*" in text and "&" in text:
            _refuse_endless(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_endless(root: Any) -> None:
    """Refuse a document that holds itself by an alias, or that aliases make huge."""
    sizes: dict[int, int] = {}  # of a node, with all that it stands for; 0: not known yet

    def size(node: Any) -> int:
        if not isinstance(node.value, list):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = 0
            children = (one for child in node.value for one in _nodes(child))
            sizes[id(node)] = 1 + sum(map(size, children))
        elif not sizes[id(node)]:
            raise ValueError(
                f"what line {node.start_mark.line + 1} names with & holds itself by an alias (*); "
                "write it out"
            )
        return sizes[id(node)]

    if size(root) > _MAX_VALUES:
        raise ValueError(f"its aliases make more than {_MAX_VALUES} values of it; write less")


def _nodes(child: Any) -> tuple[Any, ...]:
    return child if isinstance(child, tuple) else (child,)  # key and value, or an item


def _refuse_deep(text: str) -> None:
    """Refuse what the parser in C would crash on; its events are safe, and seldom needed."""
    if text.count("[") + text.count("{") <= _MAX_DEPTH and not _DEEP_BLOCKS.search(text):
        return
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")


def load_json(text: str) -> Any:
    """Parse ``text``, in which no object gives a key twice.

    Raises:
        DuplicateKeyError: an object does.
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKeyError(f"the key {key!r} is given twice; give each key once")
            seen.add(key)
    return value
