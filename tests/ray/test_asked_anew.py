"""Which test requests are asked in other ways: those alone of which there are figures."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from ste_ray.config import load_config
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.records import TEST_KINDS, Example
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.stages.infer.variants import Asked, all_that_is_asked

SPEC = ToolSpec(
    name="trip",
    description="Returns a trip.",
    parameters={"type": "object", "properties": {"a": {"type": "integer"}}},
    executor={"kind": "python", "target": "m:f"},
)
WAYS = ("infer.repeats=2", "infer.sweep=[1, 2]", "infer.perturb=[rename_parameters, add_lookalike]")


def query(kind: str, tool: str) -> Query:
    fields = {
        "example_id": f"{kind} {tool}", "group_id": "g", "trial_id": "t", "tool": tool,
        "query": "q", "origin": "explored", "arguments_json": '{"a":1}' if tool else "",
        "observation": "", "final_answer": "", "split": "test", "kind": kind,
    }  # fmt: skip
    return Query(example=Example.model_validate(fields), tools=("trip",))


QUERIES = [
    *(
        query(kind, "" if kind in ("missing_argument", "no_tool") else "trip")
        for kind in TEST_KINDS
    ),
    query("explicit", ""),
]


def asked(queries: Sequence[Query]) -> tuple[Asked, list[str]]:
    context: Any = SimpleNamespace(config=load_config(None, list(WAYS)), notes=[])
    material = PromptMaterial(
        specs={"trip": SPEC},
        demonstrations={},
        prompts=PromptSet({name: name for name in REQUIRED_PROMPTS}),
    )
    return all_that_is_asked(
        context, parse_settings(["endpoint/plain"]), queries, material
    ), context.notes


def test_only_what_is_counted_is_asked_again() -> None:
    found, notes = asked(QUERIES)
    kinds = {
        setting.variant: [one.example.example_id for one in queries]
        for setting, queries in found.queries.items()
    }
    assert len(kinds.pop("")) == len(QUERIES)
    counted = ["explicit trip", "no_tool ", "explicit "]
    assert kinds == {
        "repeat-2": counted,
        "tools-1": counted,
        "tools-2": counted,
        "rename_parameters": counted[:1],
        "add_lookalike": counted[:1],
    }
    assert notes == []


def test_where_nothing_is_counted_nothing_is_asked_again_and_a_note_says_so() -> None:
    found, notes = asked([one for one in QUERIES if one.example.kind == "natural"])
    assert [setting.variant for setting in found.queries] == [""]
    assert len(notes) == 3
    assert "none was asked anew" in notes[0]
