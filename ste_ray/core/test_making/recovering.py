"""Tests of recovery: a held-out request after a call that failed in its trial, with what came back.

Nothing is written and no model is asked: the failed calls, what came back and the call that mended
them are the trial's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from ste_ray.core.records import FailedCall, MadeTest, text_fingerprint
from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.tool_specs import ToolSpec

_NONE = "no request of the test split mended a call"
_RIGHT = "a call that failed counts as right by the rules of scores"


class Mended(NamedTuple):
    """A request of the test split, the call that answers it, and those that failed before."""

    trial_id: str
    query: str
    arguments_json: str
    failed: tuple[FailedCall, ...]


def recovery_tests(spec: ToolSpec, sources: Sequence[Mended], number: int) -> list[MadeTest]:
    """Return tests of a tool until as many are kept as are wanted, dropped ones with the reason.

    Whoever repeats a call that failed must be wrong: where the rules of scores make no difference
    between it and the right one, there is no test.

    Args:
        spec: the tool.
        sources: what they are made of, in the order in which they are tried.
        number: how many are to be kept at most.
    """
    made: list[MadeTest] = []
    kept = 0
    for source in (one for one in sources if one.failed):
        if kept >= number:
            break
        reason = "" if _all_wrong(spec, source) else _RIGHT
        made.append(_test(spec, source.trial_id, source.query, reason))
        kept += not reason
    return made or [_test(spec, "", "", _NONE)]


def _all_wrong(spec: ToolSpec, source: Mended) -> bool:
    right = json.loads(source.arguments_json)
    return all(
        compare_arguments(right, json.loads(one.arguments_json), spec.parameters)
        for one in source.failed
    )


def _test(spec: ToolSpec, trial_id: str, query: str, reason: str) -> MadeTest:
    return MadeTest(
        test_id=text_fingerprint("recovery", spec.name, trial_id, query),
        kind="recovery",
        about=spec.name,
        near_tool="",
        missing="",
        trial_id=trial_id,
        query=query,
        status="dropped" if reason else "kept",
        step="select",
        reason=reason,
    )
