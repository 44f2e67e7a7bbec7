"""The test requests asked in other ways: with which tools in the prompt, and of which material."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ste_ray.core.inferring.perturbing import (
    Perturbation,
    lookalike,
    perturbation_of,
    perturbed,
    perturbed_settings,
    renamed_parameters,
    shown_arguments,
    with_lookalike,
)
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting, prompt_contents
from ste_ray.core.inferring.sweeping import ToolLists, num_tools_of, swept
from ste_ray.core.inferring.variants import is_asked_anew, repeated
from ste_ray.core.records import canonical_json
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.tools import catalogue_specs


@dataclass(frozen=True)
class Asked:
    """What is asked, setting by setting.

    Attributes:
        queries: of each setting, variants among them.
        materials: what prompts are made of by variant; empty: of all others.
    """

    queries: Mapping[Setting, Sequence[Query]]
    materials: Mapping[str, PromptMaterial]


def all_that_is_asked(
    context: StageContext,
    settings: Sequence[Setting],
    queries: Sequence[Query],
    material: PromptMaterial,
) -> Asked:
    """Return what is asked in settings and in their variants, as the configuration has it.

    Args:
        context: of the stage.
        settings: that are asked as they are.
        queries: test requests.
        material: what their prompts are made of.

    Raises:
        ConfigError: there are too few tools.
        ToolSpecError: a catalogue cannot be read.
    """
    config = context.config.infer
    found: dict[Setting, Sequence[Query]] = dict.fromkeys(settings, queries)
    anew = [query for query in queries if is_asked_anew(query.example)]
    if anew:
        found |= dict.fromkeys(repeated(settings, config.repeats), anew)
    elif config.repeats > 1 or config.sweep:
        context.notes.append(
            "no test request is explicit, or one that no tool fits: none was asked anew for"
            " infer.repeats and infer.sweep"
        )
    materials = {"": material}
    if config.sweep:
        catalogue = catalogue_specs(config.catalogue)
        lists = ToolLists(material.specs, catalogue, context.config.seed)
        lists.check(config.sweep)
        wider = replace(material, specs={**catalogue, **material.specs})
        for setting in swept(settings, config.sweep if anew else ()):
            size = num_tools_of(setting.name)
            assert size is not None, "each of these names a number"
            found[setting] = [_showing(one, lists.shown(one, size)) for one in anew]
            materials[setting.variant] = wider
    for setting in perturbed_settings(settings, config.perturb):
        kind = perturbation_of(setting.name)
        assert kind is not None, "each of these names one"
        if kind not in materials:
            materials[kind] = _perturbed(material, kind, context.config.seed)
        asked = _of_changed_tools(setting, queries, material, materials[kind], context.config.seed)
        if asked:
            found[setting] = asked
        else:
            context.notes.append(
                f"infer.perturb: no explicit test request is of a tool that {kind!r} changes; it"
                f" was left out of {replace(setting, variant='').name}"
            )
    return Asked(found, materials)


def _showing(query: Query, names: tuple[str, ...]) -> Query:
    return query.model_copy(update={"shown": names})


def _perturbed(material: PromptMaterial, kind: Perturbation, seed: int) -> PromptMaterial:
    """Return the material in which all tools, and what was called of them, are told otherwise."""
    specs = {name: perturbed(spec, kind, seed) for name, spec in material.specs.items()}
    if kind == "add_lookalike":
        further = [lookalike(spec, specs, seed) for spec in material.specs.values()]
        return replace(material, specs={**specs, **{spec.name: spec for spec in further}})
    if kind != "rename_parameters":
        return replace(material, specs=specs)
    names = {name: renamed_parameters(spec, seed) for name, spec in material.specs.items()}
    demonstrations = {
        key: example.model_copy(
            update={
                "arguments_json": canonical_json(
                    shown_arguments(json.loads(example.arguments_json), names[example.tool])
                )
            }
        )
        if names.get(example.tool)
        else example
        for key, example in material.demonstrations.items()
    }
    return replace(material, specs=specs, demonstrations=demonstrations)


def _of_changed_tools(
    setting: Setting,
    queries: Sequence[Query],
    material: PromptMaterial,
    changed: PromptMaterial,
    seed: int,
) -> list[Query]:
    """Return the explicit requests whose right tool is told otherwise, as a variant asks them."""
    found = []
    for query in queries:
        tool = query.example.tool
        if not tool or query.example.kind != "explicit":
            continue
        if setting.variant == "add_lookalike":
            # Asked without the further tools, a setting shows what it always does.
            shown = [spec.name for spec in prompt_contents(setting, query, material).tools]
            further = lookalike(material.specs[tool], material.specs, seed).name
            key = query.example.example_id
            found.append(_showing(query, with_lookalike(shown, further, key, seed)))
        elif changed.specs[tool] is not material.specs[tool]:
            found.append(query)
    return found
