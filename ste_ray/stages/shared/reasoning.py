"""What a stage says of the reasoning in the replies it asked for: how much, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ste_ray.llm.endpoint import Endpoints
from ste_ray.runtime import journal
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.spending import RoleCosts


def reasoning_counts(
    replies: int, reasoned: int, completion_tokens: int, reasoning_tokens: int, usd: float
) -> dict[str, Any]:
    """Return the counts of a manifest under ``reasoning``; empty where no reply reasoned.

    Args:
        replies: of models.
        reasoned: replies before which the model reasoned.
        completion_tokens: of all replies, those of the reasoning included.
        reasoning_tokens: as the endpoint counts them, else by the share of the characters.
        usd: what they cost; 0 where the price is not known.
    """
    if not reasoned:
        return {}
    return {
        "reasoning": {
            "replies": reasoned,
            "share_of_replies": _share(reasoned, replies),
            "tokens": reasoning_tokens,
            "share_of_completion_tokens": _share(reasoning_tokens, completion_tokens),
            "usd": round(usd, 6),
        }
    }


def journal_reasoning(
    context: StageContext, stage: str, endpoints: Endpoints, journals: str
) -> dict[str, Any]:
    """Return ``reasoning_counts`` of the replies in the journals below a folder, and say them.

    Args:
        context: of the stage.
        stage: its name.
        endpoints: those that were asked; they name the models.
        journals: the folder, relative to the run.
    """
    costs = RoleCosts(endpoints, context.config.llm)
    replies = reasoned = completion = tokens = 0
    usd = 0.0
    folders = {path.rpartition("/")[0] for path in context.store.list(journals)}
    for folder in sorted(folders):
        for entry in journal.iter_entries(context.store, folder):
            answer = entry.get("answer")
            if entry.get("kind") != "model" or answer is None:
                continue
            replies += 1
            completion += answer.get("completion_tokens", 0)
            own = answer.get("reasoning_tokens", 0)
            if own or answer.get("reasoning"):
                reasoned += 1
                tokens += own
                usd += costs(entry.get("role", ""), 0, 0, own)
    found = reasoning_counts(replies, reasoned, completion, tokens, usd)
    if found:
        context.progress(f"{stage}: {reasoning_line(found)}")
    return found


def reasoning_line(counts: Mapping[str, Any]) -> str:
    """Return what ``reasoning_counts`` says, for the person who waits."""
    found = counts["reasoning"]
    cost = f", ${found['usd']:.2f}" if found["usd"] else ""
    return (
        f"the model reasoned before {found['replies']} replies "
        f"({found['share_of_replies']:.0%}): {found['tokens']} tokens, "
        f"{found['share_of_completion_tokens']:.0%} of all that were completed{cost}"
    )


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
