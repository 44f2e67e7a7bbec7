"""Corrections: calls that failed, and the call of the same trial that mended them.

A trial gives one correction at most, that of the call which its example stands on: the failed calls
are what a model sees, the mended one is what it learns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from itertools import takewhile
from typing import NamedTuple

from ste_ray.core.preparing.mixing import draw
from ste_ray.core.records import FailedCall, Trial, Turn, canonical_json

# The tool's own error, or a refusal since the arguments do not fit its schema: the call was at
# fault. Time-outs and lost processes are not its doing.
_FAILED = frozenset({"error", "rejected"})
_UNSOLVED = frozenset({"no", "unparsable"})


def failed_before(trial: Trial, right: Turn) -> tuple[FailedCall, ...]:
    """Return the failed calls that ``right`` mended, in their order; none: it mended nothing.

    Those are the calls of the tool since the last one that worked, in replies before that of the
    right one: calls that one reply makes side by side know nothing of each other's errors. What
    cannot be written as a call (a reply without one, an unknown tool, arguments that are no object)
    is passed over, and so is a call with the arguments of the right one: that was no mistake, the
    service was out of order.

    Args:
        trial: it counts only where the explorer found its request solved, or was not asked.
        right: one of its turns, the call that its example stands on.
    """
    if right.observation_status != "ok" or trial.solved in _UNSOLVED:
        return ()
    found: dict[str, FailedCall] = {}
    for turn in takewhile(lambda one: one is not right, trial.turns):
        if turn.kind != "tool_call" or turn.tool != trial.tool:
            continue
        if turn.observation_status == "ok":
            found.clear()  # what worked mended what was before it
        elif turn.reply_index >= right.reply_index:
            continue  # of the same reply: the right call was written before this error was seen
        elif turn.observation_status in _FAILED and _differs(turn, right):
            failed = FailedCall(arguments_json=turn.arguments_json, observation=turn.observation)
            found.setdefault(turn.arguments_json, failed)
    return tuple(found.values())


def _differs(turn: Turn, right: Turn) -> bool:
    """Whether a call is one that can be written, with other arguments than the right one."""
    if turn.arguments_json == right.arguments_json:
        return False
    try:
        return isinstance(json.loads(turn.arguments_json), dict)
    except (ValueError, RecursionError):
        return False


def failed_text(failed: Iterable[FailedCall]) -> str:
    """Return failed calls as one text, from which ``failed_of_text`` makes them again."""
    calls = [[one.arguments_json, one.observation] for one in failed]
    return canonical_json(calls) if calls else ""


def failed_of_text(text: str) -> tuple[FailedCall, ...]:
    """Return what ``failed_text`` was made of."""
    pairs = json.loads(text) if text else []
    return tuple(FailedCall(arguments_json=one, observation=other) for one, other in pairs)


class Candidate(NamedTuple):
    """A request of training or validation whose correction may be trained."""

    tool: str
    trial_id: str
    failed: tuple[str, ...]  # arguments of the failed calls


def drawn_corrections(
    candidates: Iterable[Candidate],
    requests: Mapping[str, int],
    tested: Collection[tuple[str, str]],
    fraction: float,
    seed: int,
) -> frozenset[str]:
    """Return the trials whose correction is trained.

    Of each tool they are at most ``fraction`` of its requests, rounded up, drawn by the seed. A
    failed call that is the right one of a test is shown to no training.

    Args:
        candidates: requests that hold a correction.
        requests: tool -> number of its requests of training and validation.
        tested: tool and arguments of the calls that are right in the test split.
        fraction: above 0, at most 1.
        seed: of the draw.
    """
    by_tool: dict[str, list[str]] = {}
    for one in candidates:
        if not any((one.tool, arguments) in tested for arguments in one.failed):
            by_tool.setdefault(one.tool, []).append(one.trial_id)
    return frozenset().union(
        *(
            draw(ids, math.ceil(fraction * requests[tool] - 1e-9), seed, "corrections")
            for tool, ids in by_tool.items()
        )
    )
