"""Predictions in the shape of the published study's saved results: API -> list of items.

An item has the test row (``query``, ``API_name_list``, ``api_descriptions``, ``action``,
``action_input``), the raw ``model_output``, and ``no_call``, ``err`` and ``api_match`` as the
study's rules give them. ``args_correct`` is left to whoever judges. Requests that need no call are
left out: the study has an API for each of its requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.core.inferring.reading import as_text
from ste_ray.core.records import Prediction
from ste_ray.core.scoring.study import rule_labels, study_parse
from ste_ray.core.tool_specs import ToolSpec


def saved_results(
    predictions: Sequence[Prediction], specs: Mapping[str, ToolSpec]
) -> dict[str, list[dict[str, Any]]]:
    """Return the items of each tool, tools and items in order of the example ids.

    A query that could not be answered has an empty output, which is no call.
    """
    needed = (one for one in predictions if one.needs_call and one.kind == "explicit")
    ordered = sorted(needed, key=lambda one: one.example_id)
    tools = tuple(dict.fromkeys(one.tool for one in ordered))
    items: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
    for one in ordered:
        spec = specs.get(one.tool)
        description = f"API_name: {one.tool}\nDescription: {spec.description}" if spec else ""
        items[one.tool].append(
            {
                "query": one.query,
                "API_name_list": list(one.candidates) or [one.tool],
                "api_descriptions": description,
                "action": one.tool,
                "action_input": one.arguments_json,
                "model_output": as_text(one),
                **rule_labels(study_parse(as_text(one), tools), one.tool),
            }
        )
    return items
