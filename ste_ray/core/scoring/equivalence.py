"""The scorer: a model says whether two argument objects mean the same, where no rule can tell.

It is asked only of calls whose rules left nothing but free texts open (``Score.undecided``), and
its verdict is three-valued. A reply that cannot be read is asked again once and then counts as
unsure, never as same.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal, cast

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.records import Message
from ste_ray.core.replies.conversation import assistant_message, explained, failure_of
from ste_ray.core.replies.strict_json import clip
from ste_ray.core.tool_specs import ToolSpec

Equivalence = Literal["same", "different", "unsure"]
_MAX_TOKENS = 160
_ATTEMPTS = 2
_VERDICT = re.compile(
    r"^[ \t>*_#`-]*+verdict[ \t*_`]*+[:=][ \t*_`\"']*+(same|different|unsure)(?![^\W_])"
    r"(?P<other>\W{0,3}(?:or|and|/)\W{0,3}(?:same|different|unsure)(?![^\W_]))?",
    re.IGNORECASE | re.MULTILINE,
)
_REASON = re.compile(r"^[ \t>*_#`-]*+reason[ \t*_`]*+[:=][ \t*_`]*+(.+)$", re.I | re.MULTILINE)


@dataclass(frozen=True)
class Pair:
    """Two argument objects of one tool that a request was answered with.

    Attributes:
        tool: name of the tool.
        query: the request.
        gold_json: the right arguments, as canonical JSON.
        predicted_json: the arguments of the call.
        names: of the arguments that differ.
    """

    tool: str
    query: str
    gold_json: str
    predicted_json: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class ScorerVerdict:
    """What the scorer says of a pair; ``reply_text`` is its last reply, without its reasoning."""

    verdict: Equivalence
    reason: str
    reply_text: str = ""


def scoring_prompt(pair: Pair, spec: ToolSpec, prompts: PromptSet) -> str:
    """Return what the scorer is asked; with the model it is the identity of a verdict."""
    return prompts.render(
        "score",
        tool=describe_tool(spec),
        query=pair.query,
        gold=pair.gold_json,
        predicted=pair.predicted_json,
        names=", ".join(pair.names),
    )


def scoring_flow(prompt: str, prompts: PromptSet) -> Flow[ScorerVerdict]:
    """Ask with ``prompt``, a ``scoring_prompt``, at temperature 0."""
    messages = [Message(role="user", content=prompt)]
    sampling = Sampling(temperature=0.0, max_tokens=_MAX_TOKENS)
    for attempt in range(1, _ATTEMPTS + 1):
        reply = yield AskModel(role="scorer", messages=tuple(messages), sampling=sampling)
        assert isinstance(reply, ModelReply)
        found = parse_equivalence(reply.text)
        if found is not None:
            return ScorerVerdict(*found, reply.text)
        problem = failure_of(reply, _MAX_TOKENS) or f"no verdict in {clip(reply.text)}"
        if attempt == _ATTEMPTS or reply.finish_reason not in ("stop", "length"):
            problem = explained(reply, _MAX_TOKENS, "scorer") or problem
            break
        again = prompts.render("score_again", problem=problem)
        messages += [assistant_message(reply.text), Message(role="user", content=again)]
    return ScorerVerdict("unsure", f"unparsable: {problem}", reply.text)


def parse_equivalence(text: str) -> tuple[Equivalence, str] | None:
    """Return the verdict and reason of a reply; None: it holds no verdict, or several."""
    found = _from_json(text) or [match[1].lower() for match in _VERDICT.finditer(text)]
    if len(set(found)) != 1 or any(match["other"] for match in _VERDICT.finditer(text)):
        return None
    reason = _REASON.search(text)
    return cast(Equivalence, found[0]), reason[1].strip(" \t*_`\"',}") if reason else ""


def _from_json(text: str) -> list[str]:
    """Return the verdict of a reply that is a JSON object, perhaps in a fence."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return []
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return []
    verdict = value.get("verdict", value.get("Verdict")) if isinstance(value, dict) else None
    known = isinstance(verdict, str) and verdict.strip().lower() in ("same", "different", "unsure")
    return [str(verdict).strip().lower()] if known else []
