"""What the exploration of a changed tool remembers of the run before.

Requests that concern nothing that changed have been tried: they stay in the long-term memory, so
that the explorer imagines others. Those that gave what changed may be imagined again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from ste_ray.core.exploring.memory import MemoryEntry
from ste_ray.core.records import Episode, Trial


def remembered(episodes: Iterable[Episode], changed: Collection[str]) -> tuple[MemoryEntry, ...]:
    """Return the requests that still count as tried, in order.

    Args:
        episodes: those of the tool before.
        changed: names of parameters that changed; an empty one: the arguments as a whole, so that
            nothing counts as tried.
    """
    if "" in changed:
        return ()
    return tuple(
        MemoryEntry(query=trial.query, solved=trial.solved)
        for episode in episodes
        for trial in episode.trials
        if trial.query and not _given(trial) & set(changed)
    )


def _given(trial: Trial) -> set[str]:
    """Return the names of all arguments that the calls of a trial gave."""
    calls = (turn.arguments_json for turn in trial.turns if turn.kind == "tool_call")
    return {name for call in calls if call for name in json.loads(call)}
