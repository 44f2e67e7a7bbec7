"""A few exchanges in full: a request, the model's call, what the tool answered, the reply."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ste_ray.core.inferring.reading import as_text
from ste_ray.core.records import Prediction, Score

_INDENT = " " * 18


@dataclass(frozen=True)
class Exchange:
    """One request and all that came of it.

    Attributes:
        example_id: of the test request.
        request: what was asked.
        tool: that was called.
        call: as the model wrote it.
        observation: what the tool answered.
        reply: the final answer.
        reply_from: who gave it: the model, or the tool where final answers were not trained.
        reply_cut: whether it was cut at ``infer.max_new_tokens``.
    """

    example_id: str
    request: str
    tool: str
    call: str
    observation: str
    reply: str
    reply_from: Literal["model", "tool"]
    reply_cut: bool = False


@dataclass(frozen=True)
class Exchanges:
    """Some correct and executed calls of a setting, each of another tool.

    Attributes:
        setting: who was asked, and how.
        shown: the exchanges.
        wanted: how many there should be.
        num_correct: correct calls, of ``num_requests``.
        answers_trained: whether the model was trained to give final answers.
    """

    setting: str
    shown: tuple[Exchange, ...]
    wanted: int
    num_correct: int
    num_requests: int
    answers_trained: bool

    def note(self) -> str:
        """Say how they were chosen, and what is lacking."""
        if not self.shown:
            return (
                f"no exchange of {self.setting} is shown, since no tool has answered one of its"
                f" {self.num_correct} correct calls ({self.num_requests} requests)"
            )
        number = "1 exchange" if len(self.shown) == 1 else f"{len(self.shown)} exchanges"
        text = (
            f"{number} of {self.setting}, drawn by the seed from its {self.num_correct} correct"
            f" calls ({self.num_requests} requests), one a tool"
        )
        if len(self.shown) < self.wanted:
            text += "; no more tools have answered a correct call"
        if not self.answers_trained:
            text += (
                "; the model was not trained to give final answers (prepare.tool_responses,"
                " prepare.response_fraction), so the tool's result is the answer"
            )
        if any(one.reply_cut for one in self.shown):
            text += "; where it says so, an answer was cut at infer.max_new_tokens: raise that"
        return text


def draw_exchanges(
    setting: str,
    predictions: Sequence[Prediction],
    scores: Sequence[Score],
    seed: int,
    answers_trained: bool,
    wanted: int = 3,
) -> Exchanges:
    """Draw exchanges among the calls that are correct and that a tool has answered.

    Args:
        setting: whose predictions these are.
        predictions: of all requests.
        scores: of the same.
        seed: decides which are drawn.
        answers_trained: whether final answers were among the training rows.
        wanted: how many to draw, each of another tool.
    """
    scores = [one for one in scores if one.tool]  # the others need no call
    correct = {one.example_id for one in scores if one.outcome == "correct"}
    answered = [
        one
        for one in sorted(predictions, key=lambda one: one.example_id)
        if one.example_id in correct and one.observation_status == "ok"
    ]
    random.Random(f"{seed} exchanges").shuffle(answered)
    by_tool = {one.tool: one for one in reversed(answered)}
    drawn = [one for one in answered if by_tool[one.tool] is one][:wanted]
    return Exchanges(
        setting=setting,
        shown=tuple(_exchange(one, answers_trained) for one in drawn),
        wanted=wanted,
        num_correct=len(correct),
        num_requests=len(scores),
        answers_trained=answers_trained,
    )


def _exchange(found: Prediction, answers_trained: bool) -> Exchange:
    return Exchange(
        example_id=found.example_id,
        request=found.query,
        tool=found.tool,
        call=as_text(found),
        observation=found.observation,
        reply=found.final_answer if answers_trained else found.observation,
        reply_from="model" if answers_trained else "tool",
        reply_cut=answers_trained and found.final_cut,
    )


def exchanges_text(exchanges: Exchanges) -> str:
    """Return the exchanges in full for a terminal, under a line that says how they were chosen.

    The tool's own result stands apart from the model's words, which may render it wrongly.
    """
    parts = [f"{exchanges.note()}."]
    for number, one in enumerate(exchanges.shown, start=1):
        lines = [
            _part(f"{number}. request:", one.request),
            _part("   call:", one.call),
            _part("   tool's result:", one.observation),
        ]
        if one.reply_from == "model":
            lines.append(_part("   model's words:", one.reply))
            if one.reply_cut:
                lines.append(_part("", "(cut off at infer.max_new_tokens)"))
        else:
            lines.append(_part("   answer:", "(the tool's result, as above)"))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _part(label: str, text: str) -> str:
    body = textwrap.indent(text.strip() or "(empty)", _INDENT, lambda _: True)
    return f"{label.ljust(len(_INDENT))}{body[len(_INDENT) :]}"
