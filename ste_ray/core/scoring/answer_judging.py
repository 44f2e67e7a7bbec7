"""Final answers that no rule decides: what the scorer is asked, and what shows that it may be.

Its verdicts count only if it tells right answers from wrong ones where that is known: of answers
that the rules call supported, and of contradictions that are planted in them. What is planted the
rules themselves have to find wrong, so that no label is anybody's opinion.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.agreement import Agreement, agreement
from ste_ray.core.scoring.answers import decide_answer
from ste_ray.core.scoring.asking import UNSURE, Question, ScorerVerdict
from ste_ray.core.tool_specs import ToolSpec

AnswerVerdict = Literal["supported", "unsupported", "unanswered", "unsure"]
ANSWERS = Question(get_args(AnswerVerdict), again="score_answer_again")
MAX_PLANTED = 20  # right answers that are used, and as many wrong ones; more tell hardly more
_WRONG = ("unsupported", "unanswered")
_LAST_DIGIT = re.compile(r"\d(?!\d)")


@dataclass(frozen=True)
class AnswerCase:
    """A final answer with all that it may come from.

    Attributes:
        tool: that was called.
        query: the request.
        arguments_json: of the call.
        observation: what the tool returned.
        answer: the final answer.
    """

    tool: str
    query: str
    arguments_json: str
    observation: str
    answer: str

    @property
    def by_rules(self) -> str:
        """What the rules say of the answer."""
        return decide_answer(
            self.query, self.arguments_json, self.observation, self.answer, tools=(self.tool,)
        )


class PlantedAnswer(NamedTuple):
    """An answer of which it is known whether it is supported."""

    case: AnswerCase
    supported: bool


def case_of(prediction: Prediction, score: Score) -> AnswerCase:
    """Return the final answer of a prediction, with what it was told."""
    return AnswerCase(
        tool=score.predicted_tool or prediction.tool,
        query=prediction.query,
        arguments_json=score.predicted_arguments_json,
        observation=prediction.observation,
        answer=prediction.final_answer,
    )


def answer_prompt(case: AnswerCase, spec: ToolSpec, prompts: PromptSet) -> str:
    """Return what the scorer is asked; with the model it is the identity of a verdict."""
    return prompts.render(
        "score_answer",
        tool=describe_tool(spec),
        query=case.query,
        tool_name=case.tool,
        arguments=case.arguments_json,
        observation=case.observation,
        answer=case.answer,
    )


def with_answer_verdict(score: Score, verdict: ScorerVerdict, gates: bool) -> Score:
    """Return a score with what the scorer says of its answer; it counts only if that may gate.

    One that it is unsure of stays undecided.
    """
    changes: dict[str, Any] = {"answer_verdict": verdict.verdict, "answer_reason": verdict.reason}
    if gates and verdict.verdict != UNSURE:
        changes |= {"answer": verdict.verdict, "answer_decided_by": "judge"}
    return score.model_copy(update=changes)


def plant(supported: Iterable[AnswerCase], most: int = MAX_PLANTED) -> list[PlantedAnswer]:
    """Return right answers, and wrong ones that were made of them.

    A wrong one is the answer with its numbers changed, or the answer to another request of the same
    tool, by turns; what the rules do not find wrong is left out.

    Args:
        supported: answers that the rules call supported, in an order that does not change.
        most: of the right ones; tools take turns.
    """
    by_tool: dict[str, list[AnswerCase]] = defaultdict(list)
    for case in dict.fromkeys(supported):
        by_tool[case.tool].append(case)
    found: list[PlantedAnswer] = []
    for number, case in enumerate(_by_turns(list(by_tool.values()), most)):
        found.append(PlantedAnswer(case, supported=True))
        wrong = _contradiction(case, by_tool[case.tool], number % 2 == 0)
        if wrong is not None:
            found.append(PlantedAnswer(wrong, supported=False))
    return found


def answer_agreement(
    planted: Sequence[PlantedAnswer], verdicts: Sequence[ScorerVerdict]
) -> Agreement:
    """Return how far verdicts on planted answers, in their order, agree with what is known."""
    return agreement(
        (one.supported, _said(verdict.verdict))
        for one, verdict in zip(planted, verdicts, strict=True)
    )


def _said(verdict: str) -> str:
    if verdict == UNSURE:
        return UNSURE
    return "same" if verdict == "supported" else "different"


def _by_turns(groups: Sequence[Sequence[AnswerCase]], most: int) -> list[AnswerCase]:
    longest = max(map(len, groups), default=0)
    turns = (group[at] for at in range(longest) for group in groups if at < len(group))
    return [case for _, case in zip(range(most), turns, strict=False)]


def _contradiction(
    case: AnswerCase, others: Sequence[AnswerCase], changed_first: bool
) -> AnswerCase | None:
    """Return the case with a wrong answer in place of its own; None: none can be made."""
    changed = _LAST_DIGIT.sub(lambda match: str((int(match[0]) + 3) % 10), case.answer)
    at = others.index(case)
    swapped = [one.answer for one in (*others[at + 1 :], *others[:at])]
    for answer in [changed, *swapped] if changed_first else [*swapped, changed]:
        wrong = replace(case, answer=answer)
        if answer != case.answer and wrong.by_rules in _WRONG:
            return wrong
    return None
