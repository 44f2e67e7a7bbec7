"""Trials and episodes of one tool, as far as coverage looks at them."""

from __future__ import annotations

import json
from typing import Any

from ste_ray.core.records import Episode, Trial, Turn


def trial(arguments: dict[str, Any], status: str, solved: str = "yes", tool: str = "tool") -> Trial:
    """A trial with one call of ``tool``."""
    turn = Turn(
        reply_index=0,
        reply_text="",
        kind="tool_call",
        tool=tool,
        arguments_json=json.dumps(arguments),
        observation_status=status,  # type: ignore[arg-type]
    )
    return Trial(
        trial_id="t",
        episode_id="e",
        tool="tool",
        episode_number=0,
        trial_number=0,
        query=f"With {json.dumps(arguments)}?",
        query_text="",
        memory_shown=0,
        turns=(turn,),
        final_answer="",
        outcome="finished",
        solved=solved,  # type: ignore[arg-type]
    )


def episode(number: int, *trials: Trial, tool: str = "tool") -> Episode:
    """An episode of these trials."""
    return Episode(
        episode_id=f"{tool}-{number}",
        tool=tool,
        tool_fingerprint="f",
        episode_number=number,
        messages=(),
        trials=trials,
    )
