"""From trials to examples: selection, grouping, splitting and duplicate queries."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Literal

from ste_ray.core.records import Trial, Turn, fingerprint

# The tool answered, if only with an error; "withheld" is a call of the ablation without execution.
EXECUTED = frozenset({"ok", "error", "withheld"})

Split = Literal["train", "validation", "test"]

_PUNCTUATION = ".,;:!?…\"'“”‘’«»()[]"


def select_call(trial: Trial, keep_simulated: bool = True) -> Turn | str:
    """Return the turn with the trial's last executed call, or the reason why there is none.

    Without ``keep_simulated``, a trial counts for nothing if a model played the tool in any of its
    calls: what it answered in the end may rest on that.
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
    return executed[-1]


def group_id(tool: str, query: str, arguments_json: str, by: Literal["query", "arguments"]) -> str:
    """Return the group that must stay on one side of a split.

    By ``arguments``, all queries that lead to the same call form one group, so that a test query
    has values no training query has; calls without arguments are still grouped by query.
    """
    key = arguments_json if by == "arguments" and arguments_json != "{}" else normalise(query)
    return fingerprint("group", tool, key)


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
    words = (word.strip(_PUNCTUATION) for word in text.casefold().split())
    return " ".join(word for word in words if word)


def copied_values(query: str, arguments_json: str) -> tuple[str, ...]:
    """Return the argument values that stand literally in ``query``, as they are written there."""
    found: dict[str, None] = {}
    for value in _leaves(json.loads(arguments_json)):
        text = value if isinstance(value, str) else json.dumps(value)
        if match := find_value(text, query):
            found[match[0]] = None
    return tuple(found)


def find_value(value: str, text: str) -> re.Match[str] | None:
    """Find ``value`` in ``text``, whatever its case, but not within another word or number.

    So "LON" does not stand in "long", nor 5 in 15, 5.5 or 5,000.
    """
    before, after = r"(?<![A-Za-z0-9_])(?<!\d\.)", r"(?![A-Za-z0-9_])(?!\.\d)(?!,\d{3}(?!\d))"
    return re.search(before + re.escape(value) + after, text, re.IGNORECASE) if value else None


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if value is None or isinstance(value, bool) else [value]
