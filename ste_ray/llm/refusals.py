"""What a refusal means: whose fault it is as far as it says so, and its likely cause.

Structure comes first (status, codes, the parameter that is named, results of filters). Words only
name a cause; where they leave doubt, ``ste_ray.llm.evidence`` decides by what else is served. Pure
functions; the key is taken out of whatever is shown by whoever calls them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ste_ray.llm.error_bodies import ErrorBody

OwnCause = Literal["context_overflow", "content_filter", "refused"]
RunCause = Literal["key", "quota", "model", "request"]

_PROMPT_FIELDS = ("messages", "message", "prompt", "input", "inputs", "contents", "content")
_TRANSIENT_CODES = re.compile(
    r"throttl|rate_?limit|too_?many_?requests|overloaded|server_?busy|service_?unavailable"
    r"|resource_?exhausted|temporarily"
)
_KEY_CODES = re.compile(
    r"(api_?key|token|credential)s?_?(is_)?(not_)?(invalid|expired|missing|revoked|provided)"
    r"|(invalid|incorrect|expired|missing)_?(api_?key|(security_|auth_|access_)?token|credential)"
    r"|authentication|unauthenticated|unauthori[sz]ed|unrecognized_?client"
)
_QUOTA_CODES = re.compile(
    r"insufficient_?(user_)?(quota|balance|credit|fund)|billing|arrear|overdue|out_of_credit"
    r"|exceeded_current_quota|payment|spending_limit"
)
_MODEL_CODES = re.compile(
    r"(model|deployment|endpoint)_?(or_model_)?(is_)?(not_?(found|exist|supported|available)"
    r"|decommissioned|deprecated|does_not_exist)|(unknown|invalid|unsupported)_?(model|deployment)"
)
_OVERFLOW_CODES = re.compile(
    r"context_?(length|window|size|limit)|exceed_context|max_?context|tokens?_?limit_(reach|exceed)"
    r"|max_?length|(input|prompt|request|messages?|string|query|text)_?(is_)?"
    r"(too_?(long|large)|length|above_max)|too_?many_?(input_|prompt_)?tokens"
)
_FILTER_CODES = re.compile(
    r"content_?(filter|policy|moderation|safety|risk|blocked|violation)|responsible_?ai|moderation"
    r"|data_?inspection|sensitive|guardrail|prohibited_?content|policy_?violation|safety|blocklist"
    r"|flagged|invalid_prompt|jailbreak|harmful|unsafe"
)
# Of Zhipu, MiniMax, iFlytek and Qianfan, whose codes are numbers.
_OVERFLOW_NUMBERS = frozenset({"1261", "1039", "10907", "336103"})
_FILTER_NUMBERS = frozenset({"1301", "1026", "1027", "10013", "10014"})
_QUOTA_NUMBERS = frozenset({"1113", "1008"})
_MODEL_NUMBERS = frozenset({"1211"})

_TOO_MUCH = (
    r"(too (long|large|big|many)|exceed\w*|surpass\w*|(longer|larger|greater|bigger|more) than|over"
    r" the|above|beyond|overflow\w*|must (be|have|contain|not)|should (be|have|not)|cannot|can't|up"
    r" to|at most|limit(ed)?|maximum|max|only|does(n't| not) fit|not fit|reduce|shorten)"
)
_PROMPT = r"\b(prompt|inputs?|requests?|messages?|conversation|query|text|content)\b"
_EXTENT = r"\b(tokens?|length|long|characters|chars|size)\b"
# Each names the prompt, or a length in tokens, and says that it is too much.
_OVERFLOW_WORDS = re.compile(
    r"context[ _-]?(length|size|window|limit)|(maximum|max|sequence|model) context|sequence length"
    r"|context (the )?overflow|max_(seq|session|model|context)_?len|too many (\w+ ){0,2}tokens"
    r"|maximum number of tokens|token (count|limit)|(reduce|shorten) the (length|size|number)"
    rf"|{_PROMPT}.{{0,25}}\btoo (long|large|big)\b"
    rf"|{_PROMPT}.{{0,40}}{_EXTENT}.{{0,60}}{_TOO_MUCH}"
    rf"|{_EXTENT}.{{0,30}}{_PROMPT}.{{0,60}}{_TOO_MUCH}"
    rf"|{_TOO_MUCH}.{{0,60}}{_PROMPT}.{{0,20}}{_EXTENT}"
    rf"|{_PROMPT}.{{0,40}}{_TOO_MUCH}.{{0,40}}{_EXTENT}|\bmax_?length\b"
    r"|(输入|提示|上下文|消息|请求|文本|内容|prompt|tokens?|长度|字数).{0,16}(超|过长|太长|上限)"
    r"|(超过|超出).{0,16}(长度|上下文|tokens?|字数|上限)"
)
_FILTER_WORDS = re.compile(
    r"content[ _-]?(filter|polic|moderation|management polic|safety|exists risk|risk|violat)"
    r"|inappropriate|moderation|guardrails?\b|(usage|safety|use|content) (polic|guideline)"
    r"|\bflagged\b|sensitive (content|information|word|topic|data|material)|\b(harmful|unsafe)\b"
    r"|prohibited (content|use|topic)|\bviolat\w+ .{0,40}(polic|guideline|terms|rules|standards)"
    r"|(block|reject|refus|filter)\w* .{0,40}(safety|content|filter|polic)"
    r"|(safety|security|trust and safety) (system|filter|check|setting|reason|review)"
    r"|敏感|违规|违法|不当|不安全|内容安全|审核|有害"
)
_OVERFLOW_HINTS = re.compile(
    r"\b(tokens?|lengths?|long(er)?|context|exceed\w*|maximum|max|limit\w*|size|large\w*|window"
    r"|capacity|characters|truncated?|shorten|shorter|reduce|positions|budget)\b|长|超"
)
_FILTER_HINTS = re.compile(
    r"\b(content|safety|moderat\w*|polic\w*|inappropriate|risk\w*|sensitive|block\w*|flagged"
    r"|guardrails?|prohibit\w*|violat\w*|unsafe|harm\w*|abus\w*|offensive|toxic\w*|illegal|hate"
    r"|sexual|violen\w*|disallowed|forbidden topic|guidelines?|compliance|filter\w*|terms)\b|险|禁"
)
# These speak of who asks, not of what is asked: no word of such a message is certain.
_ACCOUNT_WORDS = re.compile(
    r"\b(account|organi[sz]ation|subscription|billing|credits?|balance|region|country|territory"
    r"|api[ -]?key|permission|not authori[sz]ed|access denied|plan|tier|ip address|data policy)\b"
)
_REPLY_TOKENS = re.compile(
    r"max_(new_|completion_|output_)?tokens|maxoutputtokens|completion tokens"
)
_PROMPT_WORDS = re.compile(r"\b(prompt|inputs?|messages?|conversation|context|query)\b|输入|上下文")
_NUMBER = re.compile(r"(?<![\w.])\d{1,3}(?:[,_]\d{3})+(?![\w.])|(?<![\w.])\d{2,9}(?!\w|\.\d)")


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal that repeating the same request does not mend.

    Attributes:
        status: the HTTP status.
        message: what the endpoint said; may still hold the key.
        run_cause: what to say where every request meets it.
        ends_run: it certainly concerns every request.
        own_cause: what to say where it concerns this request alone.
        certain: ``own_cause`` is said by structure, or in words that can mean nothing else.
        parameter: the field of the request that is named, if any.
    """

    status: int
    message: str
    run_cause: RunCause = "request"
    ends_run: bool = False
    own_cause: OwnCause = "refused"
    certain: bool = False
    parameter: str = ""


def is_transient(body: ErrorBody) -> bool:
    """Whether the codes say that the same request may pass later, whatever the status."""
    return bool(_TRANSIENT_CODES.search(body.code_text))


def read_quota(body: ErrorBody) -> bool:
    """Whether the codes say that nothing is left to spend."""
    return bool(_QUOTA_CODES.search(body.code_text)) or _has(body, _QUOTA_NUMBERS)


def read_refused(status: int, body: ErrorBody) -> Refused:
    """Say what a refusal with a status below 500 means, as far as it says it itself."""
    run_cause, ends_run = _run_cause(status, body)
    own_cause, certain = _own_cause(status, body)
    return Refused(
        status,
        body.message,
        run_cause,
        ends_run,
        own_cause,
        certain,
        body.parameter,
    )


def named_field(refused: Refused, fields: Mapping[str, Any]) -> str:
    """Return which of ``fields`` of a request's body is what a refusal speaks of; "": none."""
    first = refused.parameter.removeprefix("body.").split(".")[0].split("[")[0]
    if first in fields:
        return first
    words = refused.message.lower()
    named = [
        name for name in fields if re.search(rf"(?<!\w){re.escape(name.lower())}s?(?!\w)", words)
    ]
    return max(named, key=len, default="")


def likely_cause(
    refused: Refused, num_characters: int, num_tokens: int, max_tokens: int
) -> OwnCause:
    """Name the cause of a refusal that is known to concern one request alone.

    Args:
        refused: the refusal.
        num_characters: length of the request's prompt.
        num_tokens: the same in tokens, as estimated.
        max_tokens: of the reply that was asked for.
    """
    if refused.own_cause != "refused":
        return refused.own_cause
    words = refused.message.lower()
    if _tells_the_length(words, num_characters, num_tokens, max_tokens):
        return "context_overflow"
    num_overflow = len({found[0] for found in _OVERFLOW_HINTS.finditer(words)})
    num_filter = len({found[0] for found in _FILTER_HINTS.finditer(words)})
    if num_overflow == num_filter:
        return "refused"
    return "context_overflow" if num_overflow > num_filter else "content_filter"


def _run_cause(status: int, body: ErrorBody) -> tuple[RunCause, bool]:
    """Return what a refusal of every request would be, and whether it certainly is one."""
    codes = body.code_text
    if status == 401 or _KEY_CODES.search(codes):
        return "key", True
    if status == 402 or read_quota(body):
        return "quota", True
    if status == 404 or _MODEL_CODES.search(codes) or _has(body, _MODEL_NUMBERS):
        return "model", True
    if status < 400:
        return "request", True
    return ("key" if status == 403 else "request"), False


def _own_cause(status: int, body: ErrorBody) -> tuple[OwnCause, bool]:
    """Return what a refusal of one request would be, and whether it certainly is that."""
    codes, words = body.code_text, body.message.lower()
    if body.filtered or _FILTER_CODES.search(codes) or _has(body, _FILTER_NUMBERS):
        return "content_filter", True
    if status == 413 or _has(body, _OVERFLOW_NUMBERS):
        return "context_overflow", True
    if _OVERFLOW_CODES.search(codes):
        return "context_overflow", _concerns_the_prompt(body)
    if _OVERFLOW_WORDS.search(words):
        # A limit on the reply alone is met by every request.
        of_reply = _REPLY_TOKENS.search(words) and not _PROMPT_WORDS.search(words)
        return "context_overflow", not of_reply and _concerns_the_prompt(body)
    if _FILTER_WORDS.search(words):
        return "content_filter", not _ACCOUNT_WORDS.search(words) and _concerns_the_prompt(body)
    return ("content_filter" if status == 451 else "refused"), False


def _concerns_the_prompt(body: ErrorBody) -> bool:
    """Whether the named parameter, if any, is the prompt or has to do with its length."""
    parts = body.parameter.lower().replace("[", ".").split(".")
    fields = [part for part in parts if part and part != "body"]
    return not fields or fields[0] in _PROMPT_FIELDS or "token" in fields[0]


def _has(body: ErrorBody, numbers: frozenset[str]) -> bool:
    return not numbers.isdisjoint(body.codes)


def _tells_the_length(words: str, num_characters: int, num_tokens: int, max_tokens: int) -> bool:
    """Whether a number is about the length of the prompt, beside a smaller one, its limit."""
    numbers = {int(re.sub(r"[,_]", "", found)) for found in _NUMBER.findall(words)}
    for number in numbers:
        near = any(
            0.6 * size <= number <= 1.7 * size for size in (num_tokens, num_tokens + max_tokens)
        )
        if (near or number == num_characters) and any(32 <= other < number for other in numbers):
            return True
    return False
