"""Small changes of what a model is told of tools, which should change nothing of what it calls.

Every change depends on the seed and the tool alone. What a tool does stays as it is: calls are
scored under its own schema, with renamed parameters mapped back first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any, Literal, get_args

from ste_ray.core.inferring.paraphrase_rules import paraphrased
from ste_ray.core.inferring.settings import Setting
from ste_ray.core.inferring.variants import way_of
from ste_ray.core.preparing.mixing import draw_number
from ste_ray.core.tool_specs import ToolSpec

Perturbation = Literal[
    "rename_parameters",
    "reorder_parameters",
    "paraphrase_descriptions",
    "add_enum_value",
    "add_lookalike",
]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)

# What names parameters besides these is left as it is, so its tool is not renamed.
_PLAIN = frozenset(
    ("type", "properties", "required", "additionalProperties", "title", "description", "$schema")
)
_FURTHER_VALUES = ("other", "none", "standard", "custom", "unspecified")
# Tools that are about another one: none is the right one for a request that it answers.
_LOOKALIKES = {
    "history": "Lists when {name} was called before, and by whom; does nothing of what it does.",
    "settings": "Shows the settings of {name}, such as its time limit; gives no results of it.",
    "status": "Says whether {name} is in service at present; gives no results of it.",
}
_LOOKALIKE_SCHEMA = {
    "type": "object",
    "properties": {"limit": {"type": "integer", "description": "entries to show at most"}},
}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def perturbed_settings(
    settings: Sequence[Setting], perturbations: Sequence[Perturbation]
) -> Iterator[Setting]:
    """Yield the variants whose prompts describe tools otherwise, of settings that describe any."""
    for setting in settings:
        if setting.prompt not in ("toolken", "dialog"):
            for kind in dict.fromkeys(perturbations):
                yield replace(setting, variant=kind)


def perturbation_of(name: str) -> Perturbation | None:
    """Return how the variant ``name`` describes tools otherwise; None: it does not."""
    return next((kind for kind in PERTURBATIONS if kind == way_of(name)), None)


def perturbed(spec: ToolSpec, kind: Perturbation, seed: int) -> ToolSpec:
    """Return a tool as a model is told of it; the tool itself where there is nothing to change.

    ``add_lookalike`` changes no tool: see ``lookalike``.
    """
    if kind == "rename_parameters":
        names = renamed_parameters(spec, seed)
        return _with_parameters(spec, _renamed(spec.parameters, names)) if names else spec
    if kind == "reorder_parameters":
        return _reordered(spec, seed)
    if kind == "paraphrase_descriptions":
        return _paraphrased(spec, seed)
    if kind == "add_enum_value":
        return _with_further_values(spec, seed)
    return spec


def renamed_parameters(spec: ToolSpec, seed: int) -> dict[str, str]:
    """Return the parameters of a tool with the names that a model is shown.

    Empty where there are none, or where other parts of the schema speak of them by name.
    """
    schema = spec.parameters
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not _PLAIN.issuperset(_told(schema)):
        return {}
    if '"#/properties/' in json.dumps(schema):
        return {}
    names: dict[str, str] = {}
    for name in properties:
        words = [word.lower() for word in _WORDS.findall(name)] or ["value"]
        forms = [
            "_".join([*words, "value"]),
            "_".join(["input", *words]),
            "".join([words[0], *(word.title() for word in words[1:]), "Param"]),
            "_".join(["the", *words]),
        ]
        first = draw_number(f"{spec.name} {name}", seed, "rename") % len(forms)
        taken = {*properties, *names.values()}
        last = f"{name}_renamed"
        names[name] = _first_free([*forms[first:], *forms[:first], last], last, taken)
    return names


def restored_arguments(arguments: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a call under the tool's own names of its parameters.

    A parameter that goes by its own name in the call was not shown by it, and stays wrong.

    Args:
        arguments: as the model gave them.
        names: of ``renamed_parameters``.
    """
    own = {shown: name for name, shown in names.items()}
    return {
        own.get(name, f"{name} (not its name here)" if name in names else name): value
        for name, value in arguments.items()
    }


def shown_arguments(arguments: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments under the names that a model is shown, as demonstrations need them."""
    return {names.get(name, name): value for name, value in arguments.items()}


def lookalike(spec: ToolSpec, taken: Mapping[str, Any], seed: int) -> ToolSpec:
    """Return a further tool whose name begins like that of a tool.

    Args:
        spec: the tool.
        taken: names that it must not have.
        seed: of the draw.
    """
    kinds = list(_LOOKALIKES)
    first = draw_number(spec.name, seed, "lookalike") % len(kinds)
    names = {f"{spec.name}_{kind}": kind for kind in kinds[first:] + kinds[:first]}
    name = _first_free(names, f"{spec.name}_history", taken)
    told = _LOOKALIKES[names.get(name, "history")]
    return spec.changed(
        name=name, description=told.format(name=spec.name), parameters=_LOOKALIKE_SCHEMA
    )


def _first_free(names: Iterable[str], base: str, taken: Container[str]) -> str:
    """Return the first name that is free; where none is, ``base`` with a number."""
    numbered = (f"{base}_{number}" for number in count(2))
    return next(name for name in chain(names, numbered) if name not in taken)


def with_lookalike(names: Sequence[str], further: str, key: str, seed: int) -> tuple[str, ...]:
    """Return the tools of a prompt with a further one among them, at any place of the list."""
    place = draw_number(key, seed, "lookalike's place") % (len(names) + 1)
    return (*names[:place], further, *names[place:])


def _with_parameters(spec: ToolSpec, parameters: Mapping[str, Any]) -> ToolSpec:
    return spec.changed(parameters=dict(parameters))


def _told(schema: Mapping[str, Any]) -> set[str]:
    return {key for key in schema if not key.startswith("x-")}


def _renamed(schema: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    found = dict(schema)
    found["properties"] = {names[name]: one for name, one in schema["properties"].items()}
    if "required" in schema:
        found["required"] = [names.get(name, name) for name in schema["required"]]
    return found


def _reordered(spec: ToolSpec, seed: int) -> ToolSpec:
    properties = spec.parameters.get("properties")
    if not isinstance(properties, dict) or len(properties) < 2:
        return spec
    before = list(properties)
    order = sorted(before, key=lambda name: draw_number(f"{spec.name} {name}", seed, "reorder"))
    if order == before:
        order = [*before[1:], before[0]]
    changed = {**spec.parameters, "properties": {name: properties[name] for name in order}}
    return _with_parameters(spec, changed)


def _paraphrased(spec: ToolSpec, seed: int) -> ToolSpec:
    def choosing(place: str) -> Callable[[str, int], int]:
        return lambda what, count: (
            draw_number(f"{spec.name} {place} {what}", seed, "paraphrase") % count
        )

    def described(name: str, schema: Any) -> Any:
        if not isinstance(schema, dict) or not isinstance(schema.get("description"), str):
            return schema
        text = schema["description"]
        return {**schema, "description": paraphrased(text, choosing(name))} if text else schema

    parameters = dict(spec.parameters)
    if isinstance(parameters.get("properties"), dict):
        parameters["properties"] = {
            name: described(name, one) for name, one in parameters["properties"].items()
        }
    return spec.changed(
        description=paraphrased(spec.description, choosing("")), parameters=parameters
    )


def _with_further_values(spec: ToolSpec, seed: int) -> ToolSpec:
    properties = spec.parameters.get("properties")
    if not isinstance(properties, dict):
        return spec
    changed = {
        name: _with_further_value(one, f"{spec.name} {name}", seed)
        for name, one in properties.items()
    }
    if changed == properties:
        return spec
    return _with_parameters(spec, {**spec.parameters, "properties": changed})


def _with_further_value(schema: Any, key: str, seed: int) -> Any:
    """Add a value to the enumeration of a parameter, or of its items; else return it as it is."""
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("items"), dict):
        items = _with_further_value(schema["items"], key, seed)
        return schema if items == schema["items"] else {**schema, "items": items}
    values = schema.get("enum")
    if not isinstance(values, list):
        return schema
    further = _further_value(values, key, seed)
    if further is None:
        return schema
    place = draw_number(key, seed, "place of a value") % (len(values) + 1)
    return {**schema, "enum": [*values[:place], further, *values[place:]]}


def _further_value(values: Sequence[Any], key: str, seed: int) -> Any:
    """Return a value of the same kind that is not among them; None: they are of several kinds."""
    if not values:
        return None
    if all(type(one) is int for one in values):
        return max(values) + 1
    if not all(isinstance(one, str) for one in values):
        return None
    taken = {one.casefold() for one in values}
    first = draw_number(key, seed, "value") % len(_FURTHER_VALUES)
    ordered = _FURTHER_VALUES[first:] + _FURTHER_VALUES[:first]
    word = next((one for one in ordered if one not in taken), None)
    return word.upper() if word and all(one.isupper() for one in values) else word
