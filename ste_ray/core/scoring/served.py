"""A deployed model beside what was recorded of it: call by call, in shares, and in time.

Calls are compared by what scoring reads: the tool, and the arguments as a JSON value. Answers
without a call are the same whatever they say, and so are replies whose call cannot be read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal

from ste_ray.core.records import Prediction, Record, Score
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.tool_specs import ToolSpec

Kind = Literal["call", "unknown_tool", "malformed", "no_call", "error"]
_SHOWN_CHARS = 200


class Timing(Record):
    """How long the reply to one request took, in seconds from when it was sent.

    Attributes:
        seconds: until its end.
        first_token_seconds: until the first piece of it; None: it was not streamed.
        completion_tokens: of it, as the endpoint counts; 0: it does not say.
    """

    seconds: float
    first_token_seconds: float | None = None
    completion_tokens: int = 0


class Reading(Record):
    """A reply as scoring reads it.

    Attributes:
        kind: what it is.
        tool: that is called.
        arguments_json: of the call, canonical.
        detail: of a reply without a call that can be made, what it says or why it is none.
        outcome: by the strict rules.
    """

    kind: Kind
    tool: str = ""
    arguments_json: str = ""
    detail: str = ""
    outcome: str

    @property
    def identity(self) -> tuple[str, ...]:
        """What two replies have in common that are the same."""
        named = self.kind in ("call", "unknown_tool")
        return (self.kind, self.tool, self.arguments_json) if named else (self.kind,)

    @property
    def shown(self) -> str:
        """It as a person reads it, in one line."""
        if self.kind == "call":
            return f"{self.tool} {self.arguments_json}"
        words = self.kind.replace("_", " ")
        if self.tool:
            words += f" {self.tool!r}"
        return f"{words}: {self.detail}" if self.detail else words


class ComparedReply(Record):
    """One request, what was recorded of it, and what the deployed model replied.

    Attributes:
        example_id: of the request.
        query: the request.
        tool: the right one; empty: no call is right.
        recorded: reply; None: it was an error, with which nothing can be compared.
        served: reply.
        same: whether both make the same call, or neither makes one.
        timing: of the served reply; None: there was none.
    """

    example_id: str
    query: str
    tool: str
    recorded: Reading | None
    served: Reading
    same: bool
    timing: Timing | None = None


class Share(Record):
    """How many of how many."""

    count: int
    of: int

    @property
    def share(self) -> float:
        """The share; of nothing it is 0."""
        return self.count / self.of if self.of else 0.0

    @property
    def exact(self) -> Fraction:
        """The share, without rounding."""
        return Fraction(self.count, self.of) if self.of else Fraction(0)


class Times(Record):
    """Quantiles of times, in seconds: of the times themselves, nearest rank."""

    p50: float
    p95: float


class ServedSummary(Record):
    """What the replies to all requests amount to.

    Attributes:
        streamed: whether they were streamed.
        requests: that were sent.
        same: calls that are as recorded, of the requests that can be compared.
        right_recorded: right calls as recorded, of the compared requests that need one.
        right_served: right calls of the deployed model, of the same.
        needless_recorded: needless calls, of the compared requests that need none.
        needless_served: likewise.
        errors: requests that the endpoint did not answer.
        latency: until the end of replies; None: there was none.
        first_token: until their first piece; None: they were not streamed.
        completion_tokens: of all replies; 0: the endpoint does not say.
        seconds: that all of it took.
        tokens_per_second: of all requests together; None: tokens are not told.
    """

    streamed: bool
    requests: int
    same: Share
    right_recorded: Share
    right_served: Share
    needless_recorded: Share
    needless_served: Share
    errors: int
    latency: Times | None
    first_token: Times | None
    completion_tokens: int
    seconds: float
    tokens_per_second: float | None

    @property
    def differing_share(self) -> float:
        """Calls that differ, of the requests that can be compared."""
        return (self.same.of - self.same.count) / self.same.of if self.same.of else 0.0

    @property
    def accuracy_fall(self) -> float:
        """By how much the share of right calls is lower than recorded; below 0: it is higher."""
        return self.right_recorded.share - self.right_served.share

    def within(self, tolerance: float, accuracy_tolerance: float) -> bool:
        """Whether calls differ, and accuracy falls, by no more than these shares.

        Shares are compared as the fractions that they are, tolerances as they are written: of ten
        calls one may differ at 0.1, whatever 0.8 - 0.7 is in floating point.
        """
        differing = 1 - self.same.exact if self.same.of else Fraction(0)
        fall = self.right_recorded.exact - self.right_served.exact
        return differing <= _as_written(tolerance) and fall <= _as_written(accuracy_tolerance)


def read_reply(prediction: Prediction, specs: Mapping[str, ToolSpec]) -> Reading:
    """Return what a prediction says, and its outcome by the strict rules.

    Raises:
        StageInputError: the right tool is not among ``specs``.
    """
    score = score_prediction(prediction, specs)
    kind = _kind(score)
    if kind == "call":
        return Reading(
            kind=kind,
            tool=score.predicted_tool,
            arguments_json=score.predicted_arguments_json,
            outcome=score.outcome,
        )
    says = score.detail or prediction.output_text
    tool = score.predicted_tool if kind != "no_call" else ""
    return Reading(kind=kind, tool=tool, detail=_one_line(says), outcome=score.outcome)


def compare_replies(
    recorded: Prediction,
    served: Prediction,
    specs: Mapping[str, ToolSpec],
    timing: Timing | None = None,
) -> ComparedReply:
    """Compare what the deployed model replied with what was recorded.

    Raises:
        StageInputError: the right tool is not among ``specs``.
    """
    before, now = read_reply(recorded, specs), read_reply(served, specs)
    return ComparedReply(
        example_id=recorded.example_id,
        query=recorded.query,
        tool=recorded.tool,
        recorded=before if before.kind != "error" else None,
        served=now,
        same=before.identity == now.identity,
        timing=timing if now.kind != "error" else None,
    )


def summarise_served(
    replies: Sequence[ComparedReply], seconds: float, streamed: bool
) -> ServedSummary:
    """Return the figures of replies.

    Args:
        replies: of one way of asking, in any order.
        seconds: that all of them took.
        streamed: whether they were streamed.
    """
    compared = [(one, one.recorded) for one in replies if one.recorded is not None]
    calls = [(one, before) for one, before in compared if one.tool]
    others = [(one, before) for one, before in compared if not one.tool]

    def share(flags: Sequence[bool]) -> Share:
        return Share(count=sum(flags), of=len(flags))

    timings = [one.timing for one in replies if one.timing is not None]
    first = [one.first_token_seconds for one in timings if one.first_token_seconds is not None]
    tokens = sum(one.completion_tokens for one in timings)
    return ServedSummary(
        streamed=streamed,
        requests=len(replies),
        same=share([one.same for one, _ in compared]),
        right_recorded=share([before.outcome == "correct" for _, before in calls]),
        right_served=share([one.served.outcome == "correct" for one, _ in calls]),
        needless_recorded=share([before.outcome == "needless_call" for _, before in others]),
        needless_served=share([one.served.outcome == "needless_call" for one, _ in others]),
        errors=sum(one.served.kind == "error" for one in replies),
        latency=_times([one.seconds for one in timings]),
        first_token=_times(first),
        completion_tokens=tokens,
        seconds=seconds,
        tokens_per_second=tokens / seconds if tokens and seconds > 0 else None,
    )


def _as_written(share: float) -> Fraction:
    return Fraction(repr(share))


def _kind(score: Score) -> Kind:
    if score.outcome == "error":
        return "error"
    if score.predicted_arguments_json:
        return "call"
    if "unknown_tool" in (score.outcome, score.failure_kind):
        return "unknown_tool"
    return "malformed" if score.outcome == "malformed" else "no_call"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 1]}…"


def _times(values: Sequence[float]) -> Times | None:
    if not values:
        return None
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Times(p50=rank(0.5), p95=rank(0.95))
