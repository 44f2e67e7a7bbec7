"""Asks the scorer where the rules of scoring leave something open, and measures what it is worth.

It is asked of pairs of arguments that differ in free texts alone, beside pairs that people
labelled, and of final answers that tell no value, beside answers of which the rules know what they
are worth.

The verdicts are cached on the scorer's model and its whole prompt: what is the same is asked once,
and a stage that goes on asks nothing again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from ste_ray.core import layout
from ste_ray.core.records import fingerprint
from ste_ray.core.scoring.agreement import Agreement, Judged, JudgeReport, agreement
from ste_ray.core.scoring.answer_judging import (
    ANSWERS,
    AnswerCase,
    PlantedAnswer,
    answer_agreement,
    answer_prompt,
)
from ste_ray.core.scoring.asking import Question, ScorerVerdict, question_flow
from ste_ray.core.scoring.equivalence import EQUIVALENCE, Pair, scoring_prompt
from ste_ray.runtime import journal
from ste_ray.runtime.bounded import bounded
from ste_ray.stages.base import StageContext
from ste_ray.stages.evaluate.labels import LabelledPair, read_labels
from ste_ray.stages.shared.model_session import (
    JournalPlace,
    Models,
    ModelSession,
    open_models,
)
from ste_ray.stages.shared.reasoning import journal_reasoning


class Verdicts(NamedTuple):
    """What the scorer says, what it is worth, and what was spent."""

    pairs: Mapping[Pair, ScorerVerdict]
    answers: Mapping[AnswerCase, ScorerVerdict]
    report: JudgeReport
    spent: dict[str, Any]


def ask_scorer(
    context: StageContext,
    pairs: Sequence[Pair],
    answers: Sequence[AnswerCase],
    planted: Sequence[PlantedAnswer],
) -> Verdicts:
    """Ask of all that is undecided, and of what is known already.

    Args:
        context: of the run.
        pairs: of arguments, each once.
        answers: that no rule decides, each once.
        planted: answers of which it is known whether they are supported; they are asked of only
            where ``answers`` are.

    Raises:
        StageInputError: the labels cannot be used.
    """
    section = context.config.evaluate.judge
    labelled = read_labels(section.labels, context.specs) if section.labels else []
    planted = planted if answers else ()
    texts = _texts_of_pairs(context, [*pairs, *(one.pair for one in labelled)])
    answer_texts = _texts_of_answers(context, [*answers, *(one.case for one in planted)])
    folder = layout.EVALUATE_JOURNAL
    roles = context.config.stage_roles("evaluate")
    with open_models(context, "evaluate", roles, folder, 1) as (models, limiting):
        what = f"{len(texts)} pairs of arguments"
        what += f" and {len(answer_texts)} final answers" if answer_texts else ""
        context.progress(f"evaluate: asking the scorer of {what}")
        questions = {
            **dict.fromkeys(texts.values(), EQUIVALENCE),
            **dict.fromkeys(answer_texts.values(), ANSWERS),
        }
        verdicts = asyncio.run(_ask(context, models, questions))
        model = models.endpoints.models["scorer"]
        spent = limiting.spent()
        journal_reasoning(context, "evaluate", models.endpoints, folder)
    of_pairs = {pair: verdicts[text] for pair, text in texts.items()}
    of_answers = {case: verdicts[text] for case, text in answer_texts.items()}
    report = JudgeReport(
        model=model,
        **dict(_judged_pairs(of_pairs, pairs, labelled)),
        answers=_judged_answers(of_answers, answers, planted) if answers else None,
    )
    _note(context, report)
    context.store.write_json(layout.JUDGE_REPORT, report.model_dump(mode="json"))
    return Verdicts(of_pairs, of_answers, report, spent)


def _texts_of_pairs(context: StageContext, pairs: Iterable[Pair]) -> dict[Pair, str]:
    return {
        pair: scoring_prompt(pair, context.specs[pair.tool], context.prompts)
        for pair in dict.fromkeys(pairs)
    }


def _texts_of_answers(
    context: StageContext, answers: Iterable[AnswerCase]
) -> dict[AnswerCase, str]:
    return {
        case: answer_prompt(case, context.specs[case.tool], context.prompts)
        for case in dict.fromkeys(answers)
    }


def _judged_pairs(
    verdicts: Mapping[Pair, ScorerVerdict], pairs: Sequence[Pair], labelled: Sequence[LabelledPair]
) -> Judged:
    measured = None
    if labelled:
        measured = agreement([(one.same, verdicts[one.pair].verdict) for one in labelled])
    unmeasured = "it was measured on no labels (evaluate.judge.labels)"
    reason = _why_not(measured, "labels") if measured is not None else unmeasured
    return _judged([verdicts[one] for one in pairs], EQUIVALENCE, measured, reason)


def _judged_answers(
    verdicts: Mapping[AnswerCase, ScorerVerdict],
    answers: Sequence[AnswerCase],
    planted: Sequence[PlantedAnswer],
) -> Judged:
    measured = answer_agreement(planted, [verdicts[one.case] for one in planted])
    reason = _why_not(measured, "answers that the rules decide")
    return _judged([verdicts[one] for one in answers], ANSWERS, measured, reason)


def _judged(
    verdicts: Sequence[ScorerVerdict],
    question: Question,
    measured: Agreement | None,
    reason: str,
) -> Judged:
    counts = Counter(one.verdict for one in verdicts)
    return Judged(
        asked=len(verdicts),
        verdicts={name: counts[name] for name in question.verdicts},
        gates=not reason,
        reason=reason,
        agreement=measured,
    )


def _why_not(measured: Agreement, known: str) -> str:
    """Return why verdicts do not count; empty: they do."""
    if measured.may_gate:
        return ""
    if measured.n < measured.min_pairs:
        return f"it was measured on {measured.n} {known}, fewer than {measured.min_pairs}"
    kappa = "none" if measured.kappa is None else f"{measured.kappa:.2f}"
    return f"its agreement with {measured.n} {known}, kappa {kappa}, is below {measured.floor}"


def _note(context: StageContext, report: JudgeReport) -> None:
    if report.asked and report.reason:
        context.notes.append(f"the judge's verdicts on texts do not count: {report.reason}")
    if report.answers is not None and report.answers.reason:
        context.notes.append(
            f"the judge's verdicts on final answers do not count: {report.answers.reason}"
        )


async def _ask(
    context: StageContext, models: Models, questions: Mapping[str, Question]
) -> dict[str, ScorerVerdict]:
    """Return the verdict on each prompt."""
    config, prompts = context.config, context.prompts
    place = JournalPlace(
        context.store, layout.EVALUATE_JOURNAL, context.epoch, config.flush_seconds
    )
    model = models.endpoints.models["scorer"]
    recorded = journal.load(place.store, place.folder)
    name = f"evaluate-{uuid4().hex[:8]}"
    async with ModelSession(models, config.llm, place, name=name, seed=config.seed) as session:

        async def ask(text: str, question: Question) -> ScorerVerdict:
            scope = fingerprint([model, text])
            flow = question_flow(text, prompts, question)
            return await session.run(flow, scope, recorded.get(scope))

        answers = await bounded(
            [lambda one=one: ask(*one) for one in questions.items()],  # type: ignore[misc]
            2 * config.llm.max_concurrency,
        )
    return dict(zip(questions, answers, strict=True))
