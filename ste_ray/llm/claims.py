"""What a request may use at most, and what it used: claims for the limiter, and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ste_ray.core.effects import ModelReply
from ste_ray.core.limits.grants import Claim, Used
from ste_ray.core.limits.signals import LimitHeaders, Refusal
from ste_ray.core.replies import chat_form
from ste_ray.core.replies.reasoning import estimated_tokens
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.rate_headers import read_limit_headers
from ste_ray.llm.refusals import Refused
from ste_ray.llm.responses import Failure, Served

# Dollars for (model, prompt tokens, cached ones among them, completion tokens).
Cost = Callable[[str, int, int, int], float]

_FIRST_TOKENS_PER_CHARACTER = 0.25
_REPLY_WEIGHT = 0.05  # of one reply in the running mean of tokens per character
_HEADERS_EVERY_SECONDS = 1.0
_LOW_HEADERS_EVERY_SECONDS = 0.1
_LOW_FRACTION = 0.1
NOT_SENT = Used(sent=False)
_NOTHING_USED = Used()


class Claims:
    """Estimates requests of one endpoint and model, and learns from what they really used.

    Args:
        endpoint: names model and limits.
        cost: what tokens cost; None: nothing.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        endpoint: RoleEndpoint,
        cost: Cost | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = endpoint.key
        self._model = endpoint.model
        self._cost = cost
        self._clock = clock
        self._tokens_per_character = 0.0
        self._last_headers = LimitHeaders()
        self._headers_at = float("-inf")

    def claim(self, body: Mapping[str, Any], account: str) -> Claim:
        """Return the claim of a request with this body."""
        prompt_tokens = self._tokens_of(num_characters(body))
        max_tokens = int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
        usd = self._usd(prompt_tokens, 0, max_tokens)
        return Claim(self._key, account, prompt_tokens, max_tokens, usd)

    def learn(self, num_characters: int, reply: ModelReply) -> None:
        """Correct the tokens per character by what the provider counted for so many.

        From the counts themselves, not from how far a claim was off: claims wait, and what was
        learnt since they were made would be learnt again from each of them.
        """
        if not (reply.prompt_tokens and num_characters):
            return
        found = reply.prompt_tokens / num_characters
        weight = _REPLY_WEIGHT if self._tokens_per_character else 1.0
        self._tokens_per_character += weight * (found - self._tokens_per_character)

    def with_usage(self, claim: Claim, answer: Served) -> ModelReply:
        """Return the reply; its tokens are estimated where the endpoint does not count them."""
        if answer.has_usage:
            return answer.reply
        reply, completion = answer.reply, self._tokens_of(_num_written(answer.reply))
        tokens = {
            "prompt_tokens": claim.prompt_tokens,
            "completion_tokens": completion,
            "reasoning_tokens": estimated_tokens(completion, reply.reasoning, _said(reply)),
        }
        return reply.model_copy(update=tokens)

    def used(
        self, claim: Claim, answer: Served | Failure | Refused, headers: LimitHeaders | None = None
    ) -> Used:
        """Return what a request used, as far as can be known."""
        if isinstance(answer, Served):
            return self._of_reply(claim, answer, headers)
        if isinstance(answer, Refused):
            return _NOTHING_USED
        if answer.kind == "rate_limited":
            refusal = Refusal(answer.retry_after_seconds, answer.resource)
            return Used(refusal=refusal, headers=headers)
        if answer.used:
            return self.worst(claim, headers)
        return Used(sent=answer.sent, headers=headers)

    @staticmethod
    def worst(claim: Claim, headers: LimitHeaders | None = None) -> Used:
        """Return the use of all that was claimed, as a request may have come to."""
        return Used(claim.prompt_tokens, claim.max_tokens, claim.usd, headers=headers)

    def limit_headers(self, headers: Mapping[str, str]) -> LimitHeaders | None:
        """Return what the headers say of limits if it is news; most of the time it is not."""
        found = read_limit_headers(headers)
        if found is None:
            return None
        last, now = self._last_headers, self._clock()
        changed = (found.limit_requests, found.limit_tokens) != (
            last.limit_requests,
            last.limit_tokens,
        )
        low = _is_low(found.remaining_requests, found.limit_requests) or _is_low(
            found.remaining_tokens, found.limit_tokens
        )
        every = _LOW_HEADERS_EVERY_SECONDS if low else _HEADERS_EVERY_SECONDS
        if not changed and now - self._headers_at < every:
            return None
        self._last_headers, self._headers_at = found, now
        return found

    def _of_reply(self, claim: Claim, answer: Served, headers: LimitHeaders | None) -> Used:
        reply = answer.reply
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        if not answer.has_usage:
            prompt, completion = claim.prompt_tokens, self._tokens_of(_num_written(reply))
        usd = self._usd(prompt, reply.cached_tokens, completion)
        return Used(prompt, completion, usd, headers=headers)

    def _tokens_of(self, num_characters: int) -> int:
        ratio = self._tokens_per_character or _FIRST_TOKENS_PER_CHARACTER
        return int(num_characters * ratio) + 1

    def _usd(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        if self._cost is None:
            return 0.0
        return self._cost(self._model, prompt_tokens, cached_tokens, completion_tokens)


def _is_low(remaining: float | None, limit: float | None) -> bool:
    return remaining is not None and limit is not None and remaining < _LOW_FRACTION * limit


def _num_written(reply: ModelReply) -> int:
    return len(_said(reply)) + len(reply.reasoning)


def _said(reply: ModelReply) -> str:
    """What a reply holds besides reasoning."""
    if not reply.calls:
        return reply.text
    return reply.text + "".join([call.name + call.arguments_text for call in reply.calls])


def num_characters(body: Mapping[str, Any]) -> int:
    """Return the length of the prompt, with the tools that are offered."""
    return chat_form.num_characters(body["messages"], body.get("tools") or ())
