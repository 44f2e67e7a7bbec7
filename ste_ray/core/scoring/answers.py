"""Whether a final answer says what the tool returned, and nothing that nobody told it.

Decided by values that can be found again, in any form that surely means the same. What a sentence
claims in words alone is not looked at; where that is all there is, a judge may be asked
(``ste_ray.core.scoring.answer_judging``).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field
from pydantic_core import from_json

from ste_ray.core.preparing.values import find_value, stands_in
from ste_ray.core.records import Prediction, Record, Score
from ste_ray.core.replies.written_calls import marks_call
from ste_ray.core.scoring.answer_numbers import (
    dotted_in,
    numbers_in,
    without_markers,
    written_numbers,
)
from ste_ray.core.scoring.statistics import (
    CONFIDENCE,
    NUM_RESAMPLES,
    Proportion,
    clustered_proportion,
)

AnswerOutcome = Literal["supported", "unanswered", "unsupported", "missing", "undecided"]
ANSWER_OUTCOMES: tuple[AnswerOutcome, ...] = (
    "supported",  # it tells a value that the tool returned, and no number from nowhere
    "unanswered",  # it tells none of the values that the tool returned
    "unsupported",  # it tells a number that neither the tool nor the request has
    "missing",  # there is none, or another call in its place
    "undecided",  # the tool returned no value that can be looked for, or a sign differs
)

_MOMENT = re.compile(
    r"(?<!\d)(?P<date>[12]\d{3}-\d{2}-\d{2})[T ](?P<time>\d{2}:\d{2}(?::\d{2})?)"
    r"(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?(?!\d)"
)
# A text that is nothing but a number, with a unit or the sign of a currency.
_QUANTITY = re.compile(r"[$€£¥]?\s?[-−]?\d[\d.,]*\s?(?:%|°?[^\W\d]{0,12})")
_MAX_CHARS = 200  # of a value that a sentence may repeat
_MAX_VALUES = 200  # of one observation; more no sentence tells


class AnswerFigures(Record):
    """Final answers of one setting, after calls that the tool answered.

    Attributes:
        n: how many calls there are.
        supported: share of all these, with an interval clustered by tool.
        counts: by outcome, all of them.
        by_judge: those of them that a judge decided, by outcome; empty: none.
    """

    n: int
    supported: Proportion
    counts: dict[str, int]
    by_judge: dict[str, int] = Field(default_factory=dict, exclude_if=lambda found: not found)

    @property
    def num_by_judge(self) -> int:
        """How many a judge decided."""
        return sum(self.by_judge.values())

    @property
    def num_by_rules(self) -> int:
        """How many the rules decided."""
        return self.n - self.num_by_judge - self.counts["undecided"]


def score_answer(prediction: Prediction, arguments_json: str) -> AnswerOutcome | Literal[""]:
    """Decide what a final answer is worth.

    Empty: no call was executed, the tool failed, or no answer was asked for.

    Args:
        prediction: with what the tool returned, and the final answer.
        arguments_json: of the call that was executed.
    """
    if prediction.observation_status != "ok" or not _was_asked(prediction):
        return ""
    if prediction.final_error:
        return "missing"
    return decide_answer(
        prediction.query,
        arguments_json,
        prediction.observation,
        prediction.final_answer,
        tools=prediction.known_tools,
    )


def decide_answer(
    query: str, arguments_json: str, returned: str, answer: str, *, tools: Collection[str]
) -> AnswerOutcome:
    """Decide what an answer is worth by the values in it.

    Args:
        query: the request.
        arguments_json: of the call that was executed.
        returned: by the tool.
        answer: as the model wrote it.
        tools: that the model knows by name.
    """
    if not answer.strip() or marks_call(answer, tools):
        return "missing"
    observation = _read(returned)
    given = f"{query}\n{arguments_json}"
    told = f"{returned}\n{given}"
    values = list(_values(observation))
    own = without_markers(_without(answer, [*values, *_values(_read(arguments_json))], told))
    found = _sign_differs(own, _known(observation, told), dotted_in(told))
    if found is None:
        return "unsupported"
    new = [value for value in values if stands_in(value, given) is None]
    if not new or found:
        return "undecided"
    return "supported" if any(_tells(answer, value) for value in new) else "unanswered"


def _sign_differs(text: str, known: Collection[Decimal], dotted: Collection[str]) -> bool | None:
    """Whether a number of a text is known with the other sign alone; None: one is not known."""
    differs = False
    for one in written_numbers(text):
        if not one.is_one_of(known):
            if not one.is_one_of(known, sign=-1):
                return None
            differs = True
    return None if dotted_in(text) - set(dotted) else differs


def _known(observation: Any, told: str) -> set[Decimal]:
    """Return the numbers that an answer may have from what it was told."""
    moments = " ".join(match["date"] for match in _MOMENT.finditer(told))
    leaves = (_plain(leaf) for leaf in _leaves(observation) if not isinstance(leaf, str))
    texts = (told, moments, *leaves)
    return {*(one for text in texts for one in numbers_in(text)), *_lengths(observation)}


def summarise_answers(
    scores: Iterable[Score],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> AnswerFigures | None:
    """Summarise the final answers of one setting; None: it was not asked for any."""
    by_tool: dict[str, list[str]] = defaultdict(list)
    by_judge: Counter[str] = Counter()
    for score in scores:
        if score.answer:
            by_tool[score.tool].append(score.answer)
            by_judge[score.answer] += score.answer_decided_by == "judge"
    counts = Counter(outcome for outcomes in by_tool.values() for outcome in outcomes)
    if not counts:
        return None
    return AnswerFigures(
        n=sum(counts.values()),
        supported=clustered_proportion(
            [(by_tool[tool].count("supported"), len(by_tool[tool])) for tool in sorted(by_tool)],
            seed=seed,
            num_resamples=num_resamples,
            confidence=confidence,
        ),
        counts={outcome: counts[outcome] for outcome in ANSWER_OUTCOMES},
        by_judge={name: by_judge[name] for name in ANSWER_OUTCOMES if by_judge[name]},
    )


def _read(observation: str) -> Any:
    """Return what a tool returned; a text that is no JSON as itself."""
    try:
        return from_json(observation)
    except ValueError:
        return observation


def _values(observation: Any) -> Iterator[str]:
    """Yield the values that a sentence may repeat; of running text its numbers."""
    if isinstance(observation, str) and (len(observation.split()) > 1 or not observation):
        yield from (str(abs(number)) for number in dict.fromkeys(numbers_in(observation)))
        return
    for number, leaf in enumerate(_leaves(observation)):
        if number >= _MAX_VALUES:
            return
        text = leaf if isinstance(leaf, str) else _plain(leaf)
        if 0 < len(text.strip()) <= _MAX_CHARS:
            yield text


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif value is not None and not isinstance(value, bool):
        yield value


def _lengths(value: Any) -> Iterator[Decimal]:
    """Yield how many items lists have: an answer may count them."""
    if isinstance(value, dict):
        value = list(value.values())
    elif isinstance(value, list):
        yield Decimal(len(value))
    if isinstance(value, list):
        for one in value:
            yield from _lengths(one)


def _plain(number: float) -> str:
    return f"{Decimal(str(number)):f}" if isinstance(number, float) else str(number)


def _tells(answer: str, value: str) -> bool:
    if stands_in(value, answer) is not None:
        return True
    if match := _MOMENT.fullmatch(value):
        return find_value(match["date"], answer) is not None
    if not _QUANTITY.fullmatch(value):
        return False
    known = [abs(number) for number in numbers_in(value)]
    return any(
        one.is_one_of(known) or one.is_one_of(known, sign=-1)
        for one in written_numbers(without_markers(answer))
    )


def _without(text: str, values: Iterable[str], told: str) -> str:
    """Return a text without the values that it holds, in whatever form they stand there.

    Numbers stay: they are looked at one by one.
    """
    moments = (match[part] for match in _MOMENT.finditer(told) for part in ("date", "time"))
    for value in (*values, *dict.fromkeys(moments)):
        written = None if _QUANTITY.fullmatch(value) else find_value(value, text)
        if written is not None:
            text = re.sub(rf"(?<!\w){re.escape(written)}(?!\w)", " … ", text)
    return text


def _was_asked(prediction: Prediction) -> bool:
    """Whether there is an answer, or a sign that one was asked for."""
    signs = (prediction.final_answer, prediction.final_error, prediction.final_reasoning)
    tokens = prediction.final_prompt_tokens + prediction.final_completion_tokens
    return any(signs) or tokens > 0 or prediction.final_cut
