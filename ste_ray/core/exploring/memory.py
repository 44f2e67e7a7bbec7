"""Long-term memory: the queries a tool has been tried with, and how that ended.

It is shown when a query is imagined (breadth) and is no part of the conversation that is kept.
Source: Wang et al. 2024, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode, Record
from ste_ray.core.texts.cutting import ellipsed

_OUTCOME = {"yes": " (solved)", "no": " (not solved)", "unparsable": "", "not_asked": ""}
MAX_BRANCH_CHARS = 120


class MemoryEntry(Record):
    """One earlier query and the explorer's own verdict on it."""

    query: str
    solved: Literal["yes", "no", "unparsable", "not_asked"]


def remember(episodes: Iterable[Episode]) -> tuple[MemoryEntry, ...]:
    """Return the entries of all trials of ``episodes`` that imagined a query, in order."""
    return tuple(
        MemoryEntry(query=trial.query, solved=trial.solved)
        for episode in episodes
        for trial in episode.trials
        if trial.query
    )


def render_memory(entries: Iterable[MemoryEntry], prompts: PromptSet) -> str:
    """Return the text inserted into a query prompt; empty when there is nothing to remember."""
    lines = [f"- {' '.join(entry.query.split())}{_OUTCOME[entry.solved]}" for entry in entries]
    if not lines:
        return ""
    # The prompt files are stripped on loading; the blank lines around the block belong here.
    return "\n" + prompts.render("explore_long_term_memory", queries="\n".join(lines)) + "\n"


def render_unvisited(branches: Iterable[str], prompts: PromptSet) -> str:
    """Return what a query prompt says of branches that nobody visited; empty without any."""
    lines = [f"- {ellipsed(' '.join(name.split()), MAX_BRANCH_CHARS)}" for name in branches]
    if not lines:
        return ""
    return "\n" + prompts.render("explore_not_visited", branches="\n".join(lines)) + "\n"
