"""Asks the scorer one question, and reads its reply: a verdict and a reason, a line each.

A reply that cannot be read is asked again once and then counts as unsure, never as a verdict.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Message
from ste_ray.core.replies.conversation import assistant_message, explained, failure_of
from ste_ray.core.replies.strict_json import clip

UNSURE = "unsure"
_MAX_TOKENS = 160
_ATTEMPTS = 2
_REASON = re.compile(r"^[ \t>*_#`-]*+reason[ \t*_`]*+[:=][ \t*_`]*+(.+)$", re.I | re.MULTILINE)


@dataclass(frozen=True)
class ScorerVerdict:
    """What the scorer says.

    Attributes:
        verdict: one of its question's, or ``unsure``.
        reason: its own, or why there is no verdict.
        reply_text: its last reply, without its reasoning.
    """

    verdict: str
    reason: str
    reply_text: str = ""


@dataclass(frozen=True)
class Question:
    """What the scorer may be asked.

    Attributes:
        verdicts: that a reply may name, in lower case, ``unsure`` among them.
        again: the prompt that asks for a reply that can be read.
    """

    verdicts: tuple[str, ...]
    again: str

    def read(self, text: str) -> tuple[str, str] | None:
        """Return the verdict and reason of a reply; None: it holds no verdict, or several."""
        named = list(_pattern(self.verdicts).finditer(text))
        found = _from_json(text, self.verdicts) or [match[1].lower() for match in named]
        if len(set(found)) != 1 or any(match["other"] for match in named):
            return None
        reason = _REASON.search(text)
        return found[0], reason[1].strip(" \t*_`\"',}") if reason else ""


def question_flow(prompt: str, prompts: PromptSet, question: Question) -> Flow[ScorerVerdict]:
    """Ask with ``prompt`` at temperature 0."""
    messages = [Message(role="user", content=prompt)]
    sampling = Sampling(temperature=0.0, max_tokens=_MAX_TOKENS)
    for attempt in range(1, _ATTEMPTS + 1):
        reply = yield AskModel(role="scorer", messages=tuple(messages), sampling=sampling)
        assert isinstance(reply, ModelReply)
        found = question.read(reply.text)
        if found is not None:
            return ScorerVerdict(*found, reply.text)
        problem = failure_of(reply, _MAX_TOKENS) or f"no verdict in {clip(reply.text)}"
        if attempt == _ATTEMPTS or reply.finish_reason not in ("stop", "length"):
            problem = explained(reply, _MAX_TOKENS, "scorer") or problem
            break
        again = prompts.render(question.again, problem=problem)
        messages += [assistant_message(reply.text), Message(role="user", content=again)]
    return ScorerVerdict(UNSURE, f"unparsable: {problem}", reply.text)


@functools.cache
def _pattern(verdicts: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds the line of a verdict; ``other``: it goes on with another one."""
    words = "|".join(verdicts)
    return re.compile(
        rf"^[ \t>*_#`-]*+verdict[ \t*_`]*+[:=][ \t*_`\"']*+({words})(?![^\W_])"
        rf"(?P<other>\W{{0,3}}(?:or|and|[,/|])\W{{0,3}}(?:{words})(?![^\W_]))?",
        re.IGNORECASE | re.MULTILINE,
    )


def _from_json(text: str, verdicts: tuple[str, ...]) -> list[str]:
    """Return the verdict of a reply that is a JSON object, perhaps in a fence."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return []
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return []
    verdict = value.get("verdict", value.get("Verdict")) if isinstance(value, dict) else None
    named = verdict.strip().lower() if isinstance(verdict, str) else ""
    return [named] if named in verdicts else []
