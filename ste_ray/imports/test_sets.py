"""Test sets that others made: the published study's test and dialog files, or one's own.

A row has ``query`` or ``dialog_history`` (messages that are asked as they are), the right
``action`` (or ``tool``) and ``action_input`` (or ``arguments``), and may have ``accepted``
(argument -> list of further right values), ``API_name_list`` (candidates) and
``api_descriptions``. Where no call is right, the tool is empty and there are no arguments; the row
may have a ``final_answer`` (or ``final_ans``). It may have a ``kind`` of test, ``near_tool`` and
``missing``, as an example does, ``failed_calls`` (of the kind ``recovery``: each with ``arguments``
and ``observation``), and the ``id`` of the test that it was before it was edited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ste_ray.core.records import CALL_KINDS, TEST_KINDS, Example, TestDialog, text_fingerprint
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import StageInputError
from ste_ray.imports.rows import Row, read_rows, require_tools_named, told
from ste_ray.imports.tool_data import described_in


@dataclass
class TestSet:
    """What a file holds.

    Attributes:
        fingerprint: of its content.
        examples: the test queries, in the order of the file.
        dialogs: messages of those that bring them.
        descriptions: tool -> its description, as rows give it.
        candidates: names of all tools that rows name.
        rows: of each example.
    """

    __test__ = False
    fingerprint: str
    examples: list[Example] = field(default_factory=list)
    dialogs: list[TestDialog] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)
    candidates: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)

    @property
    def tools(self) -> set[str]:
        """Names of the right tools."""
        return {example.tool for example in self.examples if example.needs_call}


def read_test_set(path: str) -> TestSet:
    """Read a test set.

    Raises:
        StageInputError: the file cannot be used; its first wrong rows are named.
    """
    rows = read_rows(path)
    require_tools_named(rows)
    found = TestSet(hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16])
    problems = []
    for number, row in enumerate(rows):
        try:
            _add(found, row, number)
        except StageInputError as error:
            problems.append(str(error))
    if problems:
        raise StageInputError(told(problems))
    return found


def _add(found: TestSet, row: Row, number: int) -> None:
    dialog = row.dialog
    last = next((one.content for one in reversed(dialog) if one.role == "user"), None)
    query = row.text("query", default=last)
    if not query.strip():
        raise row.error("its query is empty")
    tool, arguments_json = row.right_call
    kind = kind_fields(row, tool)
    answer = "" if tool else row.text("final_answer", "final_ans", default="")
    # The number keeps the order of the file, because examples are kept in order of their ids.
    example_id = f"test-{number:06d}-{text_fingerprint(query, tool, arguments_json)[:8]}"
    found.examples.append(
        Example(
            example_id=example_id,
            group_id=call_group(tool, query, arguments_json),
            trial_id="",
            tool=tool,
            query=query,
            origin="explored",
            arguments_json=arguments_json,
            observation="",
            final_answer=answer,
            split="test",
            accepted_json=row.accepted_json if tool else "",
            **kind,
        )
    )
    found.rows.append(row)
    names = _candidates(row.fields)
    found.candidates.update(names)
    if dialog:
        found.dialogs.append(TestDialog(example_id=example_id, messages=dialog, candidates=names))
    for name, text in described_in(row.fields).items():
        found.descriptions.setdefault(name, text)


def kind_fields(row: Row, tool: str) -> dict[str, Any]:
    """Return what a row says of the kind of its test, as fields of an example.

    Raises:
        StageInputError: it is no kind, or does not go with whether there is a right tool.
    """
    kind = row.text("kind", default="explicit")
    if kind not in TEST_KINDS:
        raise row.error(
            f"its 'kind' is {kind!r}{did_you_mean(kind, TEST_KINDS)}; allowed: "
            f"{', '.join(TEST_KINDS)}"
        )
    if kind in CALL_KINDS and kind != "explicit" and not tool:
        raise row.error(f"a test of the kind {kind!r} needs the right tool and its arguments")
    if kind not in CALL_KINDS and tool:
        raise row.error(
            f"no call is right in a test of the kind {kind!r}, but it has the tool {tool!r}; leave "
            "tool and arguments out, and name the tool that is near as 'near_tool'"
        )
    near = row.text("near_tool", default="")
    if kind == "confusable" and (not near or near == tool):
        raise row.error("a confusable test needs the other one of the two tools as 'near_tool'")
    failed = row.failed_calls
    if bool(failed) != (kind == "recovery"):
        raise row.error(
            "a test of the kind 'recovery', and no other, shows calls that failed: give them as"
            " 'failed_calls', a list of objects with 'arguments' and 'observation'"
        )
    if failed and row.dialog:
        raise row.error("'failed_calls' follow a 'query', not a 'dialog_history'; leave one out")
    missing = row.text("missing", default="")
    return {"kind": kind, "near_tool": near, "missing": missing, "failed_calls": failed}


def call_group(tool: str, query: str, arguments_json: str) -> str:
    """Return the group of a query: all queries with the same call, if it has arguments."""
    same = query.casefold() if arguments_json in ("{}", "") else arguments_json
    return text_fingerprint("imported", tool, same)


def _candidates(fields: Mapping[str, object]) -> tuple[str, ...]:
    names = fields.get("API_name_list")
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
