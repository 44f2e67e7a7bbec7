"""Describes Python functions by their signatures and docstrings, in a process of its own.

Run as ``python -m ste_ray.tools.python.signature PARENT_PID`` by ``describe``: it reads a JSON list
of targets, ``module:function`` or ``module``, and writes for each either the functions found or
what is wrong. Importing the functions runs their modules' code: what these print goes nowhere.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import docstring_parser
from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticSchemaGenerationError

from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.process.group import die_with, guard_group

_PLAIN = (str, int, float, bool, type(None), Any)
_MAX_DESCRIPTION_CHARS = 2_000
_SCHEMAS = ("items", "additionalProperties", "not", "contains", "propertyNames")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf", "oneOf", "prefixItems")
_NAMED_SCHEMAS = ("properties", "$defs", "patternProperties")


class UndescribedError(Exception):
    """A function does not say enough of itself; the message names what it lacks."""


def main() -> None:
    """Describe the targets that are read from standard input."""
    if not die_with(int(sys.argv[1]), signal.SIGKILL):
        os._exit(1)
    guard_group()
    targets = json.loads(sys.stdin.buffer.read())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    json.dump([_described(target) for target in targets], answers)
    answers.flush()
    os._exit(0)  # threads that a module has started must not keep the process


def _described(target: str) -> dict[str, Any]:
    found, skipped = [], []
    try:
        for module, name, function in _functions(target):
            try:
                found.append(_as_json(describe_function(f"{module}:{name}", function)))
            except UndescribedError as error:
                skipped.append([name, str(error)])
            except Exception as error:  # whatever odd hints and defaults lead to
                skipped.append([name, f"{type(error).__name__}: {error}"])
        return {"functions": found, "skipped": skipped}
    except UndescribedError as error:
        return {"error": str(error)}
    except BaseException as error:  # also SystemExit: a module may try to end the process
        return {"error": f"{target!r} cannot be imported: {type(error).__name__}: {error}"}


def _as_json(found: dict[str, Any]) -> dict[str, Any]:
    """Return what was found, if it can be sent."""
    value: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    return value


def _functions(target: str) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    module_name, _, function_name = target.partition(":")
    module = importlib.import_module(module_name)
    if function_name:
        function = getattr(module, function_name, None)
        if function is None:
            raise UndescribedError(
                f"{module_name!r} has no function {function_name!r}"
                f"{did_you_mean(function_name, _public(module), 3)}; it has: "
                f"{listed(_public(module), 'the module', most=20)}"
            )
        if not inspect.isroutine(function):
            kind = type(function).__name__
            raise UndescribedError(f"{target!r} is no function but {kind}; name a function")
        yield module_name, function_name, function
        return
    names = _public(module)
    if not names:
        raise UndescribedError(f"{module_name!r} has no public functions of its own; name another")
    for name in names:
        yield module_name, name, getattr(module, name)


def _public(module: types.ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if inspect.isfunction(getattr(module, name, None))]
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and value.__module__ == module.__name__
    ]


def describe_function(target: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Return name, description, parameters, output schema and whether arguments need converting.

    Raises:
        UndescribedError: the function lacks a docstring or hints, or takes what JSON cannot give.
    """
    doc = docstring_parser.parse(inspect.getdoc(function) or "")
    parts = [doc.short_description, doc.long_description]
    description = "\n\n".join(part.strip() for part in parts if part and part.strip())
    if not description:
        raise UndescribedError(f"{target!r} has no docstring, and so no description; write one")
    hints = _hints(target, function)
    texts = {one.arg_name: one.description for one in doc.params if one.description}
    return {
        "target": target,
        "name": target.partition(":")[2],
        "description": description[:_MAX_DESCRIPTION_CHARS],
        "parameters": _parameters(target, function, hints, texts),
        "output_schema": _output_schema(hints.get("return")),
        "convert": any(not is_plain(hint) for name, hint in hints.items() if name != "return"),
    }


def _hints(target: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise UndescribedError(
            f"the type hints of {target!r} cannot be read: {type(error).__name__}: {error}"
        ) from None


def _parameters(
    target: str, function: Callable[..., Any], hints: dict[str, Any], texts: dict[str, str]
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(_checked_parameters(target, function, hints)):
        required = parameter.default is inspect.Parameter.empty
        default = ... if required else parameter.default
        fields[f"argument_{number}"] = (
            hints[parameter.name],
            Field(default, alias=parameter.name),
        )
    try:
        model = create_model("Arguments", __config__=ConfigDict(), **fields)
        schema: dict[str, Any] = model.model_json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UndescribedError(
            f"{target!r} takes what JSON cannot give: {reason}; use other type hints, or a "
            "function that builds it"
        ) from None
    without_titles(schema)
    for name, text in texts.items():
        if name in schema.get("properties", {}):
            schema["properties"][name].setdefault("description", " ".join(text.split()))
    schema.setdefault("properties", {})
    return schema


def _checked_parameters(
    target: str, function: Callable[..., Any], hints: dict[str, Any]
) -> Iterator[inspect.Parameter]:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UndescribedError(
                f"{target!r} takes {_written(parameter)!r}, which is given without a name; tools "
                "are called by the names of their arguments"
            )
        if parameter.name not in hints:
            raise UndescribedError(
                f"the parameter {parameter.name!r} of {target!r} has no type hint; add one"
            )
        yield parameter


def _written(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    return f"**{parameter.name}" if parameter.kind is parameter.VAR_KEYWORD else parameter.name


def _output_schema(hint: Any) -> dict[str, Any] | None:
    if hint is None or hint in (str, type(None), Any, object):
        return None
    try:
        schema: dict[str, Any] = TypeAdapter(hint).json_schema(mode="serialization")
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError, ValueError):
        return None
    without_titles(schema)
    return schema


def is_plain(hint: Any) -> bool:
    """Whether JSON gives values of this type as they are."""
    if any(hint is plain for plain in _PLAIN):
        return True
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Annotated:
        return is_plain(arguments[0])
    if origin is typing.Literal:
        return all(isinstance(one, str | int | float | bool | None) for one in arguments)
    if origin in (list, dict, typing.Union, types.UnionType):
        return all(is_plain(one) for one in arguments)
    if typing.is_typeddict(hint):
        return all(is_plain(one) for one in typing.get_type_hints(hint).values())
    return hint in (list, dict)


def without_titles(schema: Any) -> None:
    """Drop the titles that pydantic makes of names: they say nothing new."""
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("title"), str):
        del schema["title"]
    for key in _SCHEMAS:
        without_titles(schema.get(key))
    for key in _LISTS_OF_SCHEMAS:
        for one in schema.get(key, ()):
            without_titles(one)
    for key in _NAMED_SCHEMAS:
        for one in schema.get(key, {}).values():
            without_titles(one)


if __name__ == "__main__":
    main()
