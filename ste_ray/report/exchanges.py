"""A few exchanges in full: a request, the model's call, what the tool answered, the reply."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ste_ray.core.inferring.reading import as_text
from ste_ray.core.records import Prediction, Score
from ste_ray.core.texts.cutting import cut_text
from ste_ray.report.markdown_tables import escaped

_INDENT = " " * 18
_MAX_CHARS = 2000  # of one text in a report


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


def trained_exchanges(
    manifests: Mapping[str, Mapping[str, Any]],
    predictions: Sequence[Prediction],
    scores: Sequence[Score],
) -> Exchanges | None:
    """Return exchanges of a run's trained model to read; None: no call of it was executed.

    Args:
        manifests: of the stages that ran, by name.
        predictions: of all settings.
        scores: of all settings.
    """
    asked = _section(manifests, "infer")
    trained = [name for name in asked.get("settings") or () if str(name).startswith("tuned/")]
    executed = asked.get("execute")
    if not trained or not (executed is True or trained[-1] in (executed or ())):
        return None
    predicted = [one for one in predictions if one.setting == trained[-1]]
    prepared = _section(manifests, "prepare")
    # A round of continual learning takes its rows from another run.
    words = prepared.get("tool_responses", any(one.final_answer for one in predicted))
    found = draw_exchanges(
        trained[-1],
        predicted,
        [one for one in scores if one.setting == trained[-1]],
        int(manifests["infer"].get("seed") or 0),
        bool(words and prepared.get("response_fraction", 1)),
    )
    return replace(found, shown=tuple(map(_cut, found.shown))) if found.shown else None


def _cut(one: Exchange) -> Exchange:
    return replace(
        one,
        request=cut_text(one.request, _MAX_CHARS),
        call=cut_text(one.call, _MAX_CHARS),
        observation=cut_text(one.observation, _MAX_CHARS),
        reply=cut_text(one.reply, _MAX_CHARS),
    )


def _section(manifests: Mapping[str, Mapping[str, Any]], stage: str) -> Mapping[str, Any]:
    found = (manifests.get(stage, {}).get("config") or {}).get(stage)
    return found if isinstance(found, Mapping) else {}


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


def exchanges_markdown(exchanges: Exchanges | None) -> Iterator[str]:
    """Yield the exchanges in full as Markdown; nothing without any."""
    if exchanges is None:
        return
    yield "## Exchanges in full"
    yield f"{escaped(exchanges.note())}."
    for number, one in enumerate(exchanges.shown, start=1):
        words = [("call", one.call), ("tool's result", one.observation)]
        if one.reply_from == "model":
            cut = " (cut off at infer.max_new_tokens)" if one.reply_cut else ""
            words.append(("model's words", one.reply + cut))
        told = [f"   - {name}: {escaped(text) or '(empty)'}" for name, text in words]
        yield "\n".join([f"{number}. {escaped(one.request)}", *told])


def _part(label: str, text: str) -> str:
    body = textwrap.indent(text.strip() or "(empty)", _INDENT, lambda _: True)
    return f"{label.ljust(len(_INDENT))}{body[len(_INDENT) :]}"
