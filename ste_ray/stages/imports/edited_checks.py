"""What is wrong with edited tests, row by row.

What a run held before is no mistake of whoever edited its tests: rows that say what they said are
not judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, TestDialog, canonical_json
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.imports.rows import Row
from ste_ray.stages.shared.trained_requests import files_of_trained_requests, trained_requests
from ste_ray.store.artifacts import RunStore
from ste_ray.tools.checks.bounded import BoundedCheck

_KEYS = frozenset({
    "id", "kind", "query", "dialog_history", "API_name_list", "tool", "action", "arguments",
    "action_input", "accepted", "near_tool", "missing", "failed_calls", "final_answer", "final_ans",
})  # fmt: skip


class Edited(NamedTuple):
    """A row, the test that it says, and the one that it was.

    Attributes:
        row: of the file.
        test: what it says.
        dialog: that it is asked with; None: by its query.
        old: the test of its id; None: it is new.
        old_dialog: that it was asked with.
    """

    row: Row
    test: Example
    dialog: TestDialog | None
    old: Example | None
    old_dialog: TestDialog | None

    @property
    def changed(self) -> bool:
        """Whether it is new, or another test than it was."""
        return (self.test, self.dialog) != (self.old, self.old_dialog)

    @property
    def asked(self) -> tuple[str, bool, tuple[str, ...]]:
        """What is asked: after a call that failed, or in a dialog, a request is another test."""
        messages = self.dialog.messages if self.dialog else ()
        failed = bool(self.test.failed_calls)
        return normalise(self.test.query), failed, tuple(one.digest for one in messages)


def problems_of(
    store: RunStore,
    edited: Sequence[Edited],
    before: Mapping[str, Example],
    in_dialogs: bool,
    specs: Mapping[str, ToolSpec],
) -> Iterator[str]:
    """Yield what is wrong with rows, with their places.

    Args:
        store: of the run.
        edited: all its tests.
        before: the tests that it had, by their ids.
        in_dialogs: whether all of them were asked with dialogs.
        specs: its tools.
    """
    checks = {name: BoundedCheck(name, spec.parameters) for name, spec in specs.items()}
    tested = {normalise(one.test.query) for one in edited}
    trained = {
        text
        for path in files_of_trained_requests(store)
        for text in trained_requests(store, path)
        if text in tested
    }
    ids: dict[str, str] = {}
    asked: dict[object, list[Edited]] = {}
    for one in edited:
        alike = asked.setdefault(one.asked, [])
        problem = (
            _key_problem(one.row)
            or _id_problem(one, ids, before)
            or (one.changed and _dialog_problem(one, in_dialogs))
            or (one.changed and _problem(one.test, specs, checks))
            or next((_same(one, other) for other in alike if one.changed or other.changed), "")
        )
        alike.append(one)
        if not problem and one.changed and normalise(one.test.query) in trained:
            problem = "its query stands in the training data; a test must be one that no model saw"
        if problem:
            yield str(one.row.error(problem))


def _key_problem(row: Row) -> str:
    for name in row.fields:
        if name not in _KEYS:
            hint = did_you_mean(name, _KEYS)
            return f"it has the unknown key {name!r}{hint}; allowed: {', '.join(sorted(_KEYS))}"
    return ""


def _id_problem(one: Edited, ids: dict[str, str], before: Mapping[str, Example]) -> str:
    key = one.row.text("id", default="")
    if not key:
        return ""
    if key not in before:
        hint = did_you_mean(key, before)
        return f"no test of the run has the 'id' {key!r}{hint}; leave it out of a new test"
    other = ids.setdefault(key, one.row.place)
    if other != one.row.place:
        return f"it has the 'id' {key!r} of {other}; leave it out of a new test"
    return ""


def _dialog_problem(one: Edited, in_dialogs: bool) -> str:
    if one.dialog is None:
        if one.old_dialog or (in_dialogs and one.old is None):
            return "it has no 'dialog_history', with which the run's tests are asked"
        return ""
    same = one.old_dialog is not None and one.dialog.messages == one.old_dialog.messages
    if same and one.old and one.old.query != one.test.query:
        return (
            "its 'query' is another one, but its 'dialog_history' asks what it asked; change both"
        )
    return ""


def _same(one: Edited, other: Edited) -> str:
    if one.test.tool == other.test.tool:
        return f"it is the same test as {other.row.place}"
    right = [
        f"a call of {tool!r}" if tool else "no call" for tool in (other.test.tool, one.test.tool)
    ]
    return (
        f"its request is that of {other.row.place}, but there {right[0]} is right and here"
        f" {right[1]}; word one of them so that only its own answer is, or delete it"
    )


def _problem(
    test: Example, specs: Mapping[str, ToolSpec], checks: Mapping[str, BoundedCheck]
) -> str:
    for key, tool in (("tool", test.tool), ("near_tool", test.near_tool)):
        if tool and tool not in specs:
            return f"the {key} {tool!r} is not in the run{did_you_mean(tool, specs)}"
    if problem := _missing_problem(test, specs):
        return problem
    if not test.tool:
        return ""
    if refusal := checks[test.tool].refusal_now(test.arguments_json):
        return f"the arguments do not fit the schema of {test.tool!r}: {refusal}"
    return _accepted_problem(test, specs[test.tool], checks[test.tool])


def _missing_problem(test: Example, specs: Mapping[str, ToolSpec]) -> str:
    if test.kind != "missing_argument":
        return "'missing' is of tests of the kind 'missing_argument'" if test.missing else ""
    if not test.near_tool or not test.missing:
        return (
            "a test of the kind 'missing_argument' needs the tool whose argument is not told as"
            " 'near_tool', and the argument as 'missing'"
        )
    parameters = specs[test.near_tool].parameters
    known = parameters.get("properties", {})
    if test.missing not in known:
        hint = did_you_mean(test.missing, known)
        return f"{test.near_tool!r} has no argument {test.missing!r}{hint} to be missing"
    if test.missing not in (required := parameters.get("required", [])):
        return (
            f"{test.near_tool!r} can be called without {test.missing!r}; what is missing must be"
            f" required ({', '.join(required) or 'nothing is'})"
        )
    return ""


def _accepted_problem(test: Example, spec: ToolSpec, check: BoundedCheck) -> str:
    """Say which of the further right values can be none."""
    arguments = json.loads(test.arguments_json)
    known = {**spec.parameters.get("properties", {}), **arguments}
    for name, values in json.loads(test.accepted_json or "{}").items():
        if name not in known:
            hint = did_you_mean(name, known)
            return f"'accepted' names {name!r}{hint}, no argument of {test.tool!r}"
        for value in values:
            refusal = check.refusal_now(canonical_json(arguments | {name: value}))
            if refusal:
                return f"'accepted': the value does not fit the schema of {test.tool!r}: {refusal}"
    return ""
