"""What an OpenAI-compatible endpoint answered, read from status, headers and body.

Pure functions. What is quoted of an answer is masked by the caller's ``mask`` before it is cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ste_ray.core.effects import ModelReply
from ste_ray.core.limits.signals import Resource
from ste_ray.core.texts.surrogates import without_halves
from ste_ray.llm.completions import read_message, read_usage
from ste_ray.llm.error_bodies import read_error
from ste_ray.llm.rate_headers import limited_resource, retry_after
from ste_ray.llm.refusals import Refused, is_transient, read_quota, read_refused
from ste_ray.llm.tool_calls import read_calls

FailureKind = Literal["rate_limited", "server_error", "timeout", "connection", "bad_reply"]
# Every family of servers has names of its own for what ends a reply: ``length``, ``max_tokens``,
# ``MAX_TOKENS``, ``model_length``; ``content_filter``, ``SAFETY``, ``guardrail_intervened``, ….
_FILTER_ENDS = re.compile(
    r"filter|safety|recitation|blocklist|prohibited|spii|sensitive|guardrail|toxic|moderat|blocked"
)
_LENGTH_ENDS = re.compile(r"length|max_?(?:\w+_)?tokens|token_?limit|context_window|truncated")
_BROKEN_ENDS = re.compile(r"error|abort|cancel|insufficient|overload|unavailable|time_?out")
_END_FIELDS = ("finish_reason", "finishReason", "done_reason", "stop_reason")
# Comes as 429: the request alone is above the limit of a minute, so it can never pass.
_TOO_LARGE_SIGN = "request too large"
# Statuses that say the same request may pass later.
_PASSING_STATUSES = (408, 409, 424, 425, 429)


@dataclass(frozen=True, slots=True)
class Served:
    """A completion, and whether the endpoint said how many tokens it took."""

    reply: ModelReply
    has_usage: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed in a way that may pass.

    Attributes:
        kind: what happened.
        detail: the same in words; may still hold the key.
        alike: failures with equal values count as identical.
        retry_after_seconds: the wait the endpoint asked for.
        resource: which limit was reached, for ``rate_limited``.
        used: whether the endpoint may have worked on it, and counted tokens for that.
        sent: whether the request can have reached the endpoint at all.
    """

    kind: FailureKind
    detail: str
    alike: str
    retry_after_seconds: float | None = None
    resource: Resource = "unknown"
    used: bool = False
    sent: bool = True


def read_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    mask: Callable[[str], str] = str,
) -> Served | Failure | Refused:
    """Say what an answer means.

    Args:
        status: the HTTP status.
        headers: looked up by lower-case names; must ignore case.
        body: as it came.
        now: seconds since 1970, for a ``Retry-After`` that is a date.
        mask: takes secrets out of a text; applied to the whole of what is quoted in part.
    """
    text = body.decode("utf-8", "replace")
    if status != 200:
        return _read_refusal(status, headers, mask(text), now)
    completion = _read_completion(text, mask)
    if isinstance(completion, Failure):
        return _read_hidden_refusal(headers, mask(text), now) or completion
    return completion


def _read_completion(text: str, mask: Callable[[str], str]) -> Served | Failure:
    try:
        answer = json.loads(text)
        choice = answer["choices"][0]
        told = _message_of(choice)
        message = read_message(told)
        words = _end_words(choice)
        end = _end_of(choice, words)
        if end == "broken":
            detail = f"a reply that was broken off: {mask(text)[:120]!r}"
            return Failure("bad_reply", detail, "bad_reply", used=True)
        found = read_calls(told, end, words)
        usage = answer.get("usage") or {}
        try:
            tokens = read_usage(usage, message, found.text)
        except (ValueError, TypeError, AttributeError, OverflowError):
            # NaN or a text where a number belongs: nothing was counted, but the reply is there.
            usage, tokens = {}, read_usage({}, message)
        reply = ModelReply(
            text=message.content,
            reasoning=message.reasoning,
            finish_reason=end,
            model=without_halves(str(answer.get("model") or "")),
            prompt_tokens=tokens.prompt,
            cached_tokens=tokens.cached,
            completion_tokens=tokens.completion,
            reasoning_tokens=tokens.reasoning,
            calls=found.calls,
            oddities=found.oddities,
        )
        return Served(reply, bool(usage))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        detail = f"a reply that is no chat completion: {mask(text)[:120]!r}"
        return Failure("bad_reply", detail, "bad_reply", used=True)


def _message_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what holds a choice's text: its message, or what older servers write in its stead."""
    message = next(
        (one for key in ("message", "delta") if (one := choice.get(key)) is not None), None
    )
    if message is None:
        message = {"content": choice["text"]}
    found: Mapping[str, Any] = {"content": message} if isinstance(message, str) else message
    return found


def _end_words(choice: Mapping[str, Any]) -> str:
    """Return what a choice says of its end, in lower case."""
    told = next((one for key in _END_FIELDS if (one := choice.get(key))), "")
    return str(told.get("type") if isinstance(told, Mapping) else told)[:100].lower()


def _end_of(
    choice: Mapping[str, Any], words: str
) -> Literal["stop", "length", "content_filter", "broken"]:
    """Return how a reply came to its end; ``broken``: the server failed while it was written."""
    if _FILTER_ENDS.search(words):
        return "content_filter"
    if _LENGTH_ENDS.search(words):
        return "length"
    return "broken" if choice.get("error") or _BROKEN_ENDS.search(words) else "stop"


def _read_refusal(
    status: int, headers: Mapping[str, str], text: str, now: float
) -> Failure | Refused:
    body = read_error(text)
    if status == 429 and _TOO_LARGE_SIGN in f"{body.code_text} {body.message}".lower():
        return Refused(status, body.message, own_cause="context_overflow", certain=True)
    if status == 429 and read_quota(body):
        return Refused(status, body.message, "quota", ends_run=True)
    refused = read_refused(status, body)
    # Some servers say with 500 that a prompt is too long for them.
    told = refused.certain and status == 500
    passing = status in _PASSING_STATUSES or status >= 500
    if (passing and not told) or (status not in (401, 402, 413) and is_transient(body)):
        detail = body.message or text.strip()
        return Failure(
            "rate_limited" if status == 429 else "server_error",
            f"{status} {detail[:200]}".strip(),
            str(status),
            retry_after(headers, now),
            limited_resource(body.code_text, body.message) if status == 429 else "unknown",
        )
    return refused


def _read_hidden_refusal(
    headers: Mapping[str, str], text: str, now: float
) -> Failure | Refused | None:
    """Return the refusal that gateways send with status 200; None: it is none."""
    try:
        if choices := json.loads(text).get("choices"):
            # Some put it into the choice that they broke off.
            if not choices[0].get("error"):
                return None
            text = json.dumps({"error": choices[0]["error"]})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    body = read_error(text)
    statuses = [int(code) for code in body.codes if code.isdigit() and 400 <= int(code) < 600]
    if statuses:
        return _read_refusal(statuses[0], headers, text, now)
    refused = read_refused(400, body)
    return refused if body.codes and (refused.certain or refused.ends_run) else None
