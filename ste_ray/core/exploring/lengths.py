"""How long the replies and observations of an exploration are: measured, or else guessed.

Recorded answers are told apart by their text alone, because they are kept without the requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean

from ste_ray.core.effects import Answer, ModelReply
from ste_ray.core.replies.stop_texts import OBSERVATION_STOP, cut_at_stop
from ste_ray.core.texts.cutting import cut_result

CHARS_PER_TOKEN = 4
_REFLECTION = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_ACTION = re.compile(r"^\W*(Thought|Action)\W", re.MULTILINE)


@dataclass(frozen=True)
class Lengths:
    """Mean lengths in characters, of replies by what they are, and of observations.

    Attributes:
        query: the reply that imagines a request.
        action: a reply that calls the tool, or tries to.
        final: the reply that ends the turns.
        reflection: the reply that says whether it was solved.
        observation: what a call returns, as far as it is shown.
        actions_per_trial: replies of kind ``action`` in a trial, not in characters.
        hidden: completion tokens that the provider counts for each token of an answer's text; more
            than 1 where a model reasons before it.
    """

    query: float
    action: float
    final: float
    reflection: float
    observation: float
    actions_per_trial: float
    hidden: float = 1.0


# Measured on the 21 built-in tools, three episodes of four trials each (252 trials). The scripted
# teacher is terse and seldom errs: where a language model explores, this is a rough guide.
TEACHER_LENGTHS = Lengths(
    query=89, action=134, final=132, reflection=57, observation=80, actions_per_trial=1.23
)
# The tenth percentiles of the same; half the trials need no more than one call.
TEACHER_SHORT_LENGTHS = Lengths(
    query=55, action=112, final=98, reflection=57, observation=34, actions_per_trial=1
)


@dataclass(frozen=True)
class Recorded:
    """What recorded answers of an exploration tell.

    Attributes:
        replies: how many replies of the model there are.
        prompt_tokens: what the prompts of all replies used, as the provider counted.
        completion_tokens: likewise.
        short: the tenth percentiles of their lengths.
        expected: their means.
    """

    replies: int
    prompt_tokens: int
    completion_tokens: int
    short: Lengths
    expected: Lengths


def measure(answers: Iterable[Answer], observation_chars: int, native: bool = False) -> Recorded:
    """Read the lengths of recorded answers; what none of them shows is taken from the teacher's.

    Natively nothing tells a final answer from a request: they count as equally many, and as equally
    long.

    Args:
        answers: of the exploration of some tools, in any order.
        observation_chars: where observations are cut.
        native: whether they are of the native protocol.
    """
    chars: dict[str, list[int]] = {}
    visible = prompt = completion = replies = 0
    for answer in answers:
        if not isinstance(answer, ModelReply):
            shown = cut_result(answer, observation_chars).text
            chars.setdefault("observation", []).append(len(shown))
            continue
        replies += 1
        prompt += answer.prompt_tokens
        completion += answer.completion_tokens
        called = [call.name + call.arguments_text for call in answer.calls]
        visible += len(answer.text) + len("".join(called))
        for text in called if native else ():
            chars.setdefault("action", []).append(len(answer.text) // len(called) + len(text))
        if answer.text and not (native and called):
            kept = answer.text if native else cut_at_stop(answer.text, OBSERVATION_STOP)
            chars.setdefault(_kind(kept, native), []).append(len(kept))
    if native and "query" in chars:
        chars["final"] = chars["query"]
    expected = replace(TEACHER_LENGTHS, **{kind: fmean(some) for kind, some in chars.items()})
    short = {kind: min(_tenth_percentile(some), fmean(some)) for kind, some in chars.items()}
    if "query" in chars:
        queries = len(chars["query"]) / (2 if native else 1)
        actions = len(chars.get("action", ())) / queries
        expected = replace(expected, actions_per_trial=actions)
    if visible and completion:
        expected = replace(expected, hidden=completion / (visible / CHARS_PER_TOKEN))
    lowest = replace(TEACHER_SHORT_LENGTHS, hidden=expected.hidden, **short)
    return Recorded(replies, prompt, completion, lowest, expected)


def capped(lengths: Lengths, at: Lengths) -> Lengths:
    """Return ``lengths`` with none beyond the same of ``at``; ``hidden`` stays."""
    return Lengths(
        min(lengths.query, at.query),
        min(lengths.action, at.action),
        min(lengths.final, at.final),
        min(lengths.reflection, at.reflection),
        min(lengths.observation, at.observation),
        min(lengths.actions_per_trial, at.actions_per_trial),
        lengths.hidden,
    )


def _kind(text: str, native: bool) -> str:
    if native:
        return "reflection" if _REFLECTION.match(text) else "query"
    if "Final Answer:" in text:
        return "final"
    if _ACTION.search(text):
        return "action"
    return "reflection" if _REFLECTION.match(text) else "query"


def _tenth_percentile(values: list[int]) -> int:
    return sorted(values)[len(values) // 10]
