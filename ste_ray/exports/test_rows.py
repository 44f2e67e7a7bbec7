"""The tests of a run as JSON lines for a person to edit, in the form in which tests are imported.

A line has ``id``, ``kind``, ``query`` and ``tool``; ``arguments`` and ``accepted`` where a call is
right; ``near_tool``, ``missing``, ``failed_calls`` and ``final_answer`` where a test has them; and
``dialog_history`` with ``API_name_list`` where it is asked with messages that its data brought.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from ste_ray.core.records import TEST_KINDS, Example, TestDialog


def write_test_rows(
    examples: Iterable[Example], dialogs: Mapping[str, TestDialog], stream: TextIO
) -> dict[str, int]:
    """Write tests, those of a kind together, by tool; return how many of each kind there are.

    Args:
        examples: the tests among them are written.
        dialogs: of those that are asked with messages of their own, by their ids.
        stream: what to write to.
    """
    tests = [one for one in examples if one.split == "test"]
    order = {kind: place for place, kind in enumerate(TEST_KINDS)}
    tests.sort(key=lambda one: (order[one.kind], one.tool, one.near_tool, one.example_id))
    for one in tests:
        stream.write(
            json.dumps(row_of(one, dialogs.get(one.example_id)), ensure_ascii=False) + "\n"
        )
    counts = Counter(one.kind for one in tests)
    return {kind: counts[kind] for kind in TEST_KINDS if counts[kind]}


def row_of(example: Example, dialog: TestDialog | None) -> dict[str, Any]:
    """Return a test as a row."""
    row: dict[str, Any] = {
        "id": example.example_id,
        "kind": example.kind,
        "query": example.query,
        "tool": example.tool,
    }
    if example.needs_call:
        row["arguments"] = json.loads(example.arguments_json)
    if example.accepted_json:
        row["accepted"] = json.loads(example.accepted_json)
    if not example.needs_call and example.final_answer:
        row["final_answer"] = example.final_answer
    if example.failed_calls:
        row["failed_calls"] = [
            {"arguments": json.loads(one.arguments_json), "observation": one.observation}
            for one in example.failed_calls
        ]
    if dialog:
        row["dialog_history"] = [
            one.model_dump(mode="json", exclude_defaults=True) for one in dialog.messages
        ]
        if dialog.candidates:
            row["API_name_list"] = list(dialog.candidates)
    told = {"near_tool": example.near_tool, "missing": example.missing}
    return row | {name: value for name, value in told.items() if value}
