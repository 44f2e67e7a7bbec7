"""From trials to examples: selection, grouping, splitting, and when two queries are equal."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Literal

from ste_ray.core.exploring.context import EXECUTED
from ste_ray.core.records import Trial, Turn, text_fingerprint

Split = Literal["train", "validation", "test"]

_PUNCTUATION = re.escape(".,;:!?…\"'“”‘’«»()[]")
_AROUND_WORDS = re.compile(rf"(?<!\S)[{_PUNCTUATION}]++|[{_PUNCTUATION}]++(?!\S)")


def select_call(trial: Trial, keep_simulated: bool = True, keep_errors: bool = True) -> Turn | str:
    """Return the turn with the trial's last executed call, or the reason why there is none.

    Without ``keep_simulated``, a trial counts for nothing if a model played the tool in any of its
    calls: what it answered in the end may rest on that. Without ``keep_errors``, it counts for
    nothing if its last executed call ended in an error of the tool.
    """
    if trial.outcome != "finished":
        detail = f": {trial.outcome_detail}" if trial.outcome_detail else ""
        return f"{trial.outcome.replace('_', ' ')}{detail}"
    calls = [turn for turn in trial.turns if turn.kind == "tool_call"]
    executed = [turn for turn in calls if turn.observation_status in EXECUTED]
    if not calls:
        return "answered without a call"
    if not executed:
        return f"no call was executed ({calls[-1].observation_status})"
    if not keep_simulated and any(turn.observation_source == "simulated" for turn in executed):
        return "a call was simulated"
    return _usable(executed[-1], trial, keep_errors)


def _usable(call: Turn, trial: Trial, keep_errors: bool) -> Turn | str:
    if not keep_errors and call.observation_status == "error":
        return "the call ended in an error of the tool"
    if call.tool != trial.tool:
        return f"the call is of another tool, {call.tool!r}"
    try:
        arguments = json.loads(call.arguments_json)
    except (ValueError, RecursionError):
        arguments = None
    return call if isinstance(arguments, dict) else "the arguments are no JSON object"


def group_id(
    trial: Trial, arguments_json: str, by: Literal["query", "arguments", "episode"]
) -> str:
    """Return the group that must stay on one side of a split.

    By ``arguments``, all queries that lead to the same call form one group, so that a test query
    has values no training query has; calls without arguments are still grouped by query. By
    ``episode``, all queries of one conversation do.
    """
    if by == "episode":
        kind, key = "episode", trial.episode_id
    elif by == "arguments" and arguments_json != "{}":
        kind, key = "arguments", arguments_json
    else:
        kind, key = "query", normalise(trial.query)
    return text_fingerprint(kind, trial.tool, key)


def split_of(group: str, seed: int, validation_fraction: float, test_fraction: float) -> Split:
    """Return the split of a group, by group and seed alone, so that added data moves nothing."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < test_fraction:
        return "test"
    return "validation" if position < test_fraction + validation_fraction else "train"


def normalise(text: str) -> str:
    """Return ``text`` in the form in which duplicate queries are equal.

    Case, white space and the punctuation around words do not count; signs do: "3 + 4" and "3 - 4"
    are two queries.
    """
    return " ".join(_AROUND_WORDS.sub(" ", text.casefold()).split())
