"""The published study's files: examples, test queries, dialogs and the list of added tokens.

``tool_data.json`` (and ``tool_validation.json``) hold what was fine-tuned on, as a list;
``tool_test.json`` the test queries by tool; ``dialogs.json`` the training rows as
``dialog_history`` and ``response``; ``toolken_list.json`` one token a tool. Tests that need no call
are left out: the study has a tool for each of its test queries.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ste_ray.core.records import Example
from ste_ray.core.toolkens import toolken
from ste_ray.exports.data_dict import api_choice
from ste_ray.exports.folder import Written, write_json, write_json_list
from ste_ray.exports.source import ExportSource


def write_study(folder: Path, source: ExportSource) -> Written:
    """Write the files into ``folder``; return how many rows each holds."""
    counts = {
        "tool_data": write_json_list(folder / "tool_data.json", _items(source, "train")),
        "tool_test": _write_tests(folder / "tool_test.json", source),
        "dialogs": write_json_list(folder / "dialogs.json", _dialogs(source)),
    }
    validation = write_json_list(folder / "tool_validation.json", _items(source, "validation"))
    write_json(folder / "toolken_list.json", [toolken(tool) for tool in source.tools])
    return Written({**counts, "tool_validation": validation})


def _items(source: ExportSource, split: str) -> Iterator[dict[str, Any]]:
    for example in source.examples():
        if example.split == split:
            yield _asked(example, source) | {
                "observation": example.observation,
                "final_ans": example.final_answer,
            }


def _asked(example: Example, source: ExportSource) -> dict[str, Any]:
    """Return a query and its call."""
    return {
        "query": example.query,
        **api_choice(source.spec(example.tool)),
        "action": example.tool,
        "action_input": example.arguments_json,
    }


def _write_tests(path: Path, source: ExportSource) -> int:
    """Write tool -> test queries, those of one tool in memory at a time."""
    number = 0
    tests = (
        one
        for one in source.examples()
        if one.split == "test" and one.needs_call and one.kind == "explicit"
    )
    with path.open("w", encoding="utf-8") as stream:
        stream.write("{")
        for tool, group in itertools.groupby(tests, key=lambda example: example.tool):
            items = [_asked(example, source) for example in group]
            text = (
                f"{json.dumps(tool, ensure_ascii=False)}: {json.dumps(items, ensure_ascii=False)}"
            )
            stream.write(f"{',' if number else ''}\n {text}")
            number += len(items)
        stream.write("\n}\n")
    return number


def _dialogs(source: ExportSource) -> Iterator[dict[str, Any]]:
    for row in source.rows():
        if row.split == "train":
            history = [{"role": one.role, "content": one.content} for one in row.dialog_history]
            yield {"dialog_history": history, "response": row.response}
