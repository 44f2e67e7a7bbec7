"""Whether a final answer says what the tool returned, and nothing that nobody told it.

Decided by values that can be found again, in any form that surely means the same. What a sentence
claims in words alone is not looked at.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Literal

from pydantic_core import from_json

from ste_ray.core.preparing.values import find_value
from ste_ray.core.records import Prediction, Record, Score
from ste_ray.core.replies.markers import find_markers
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

# A sign is one only where no word or number ends before it: not in 2024-03-05, nor in B-52.
_NUMBER = re.compile(r"(?:(?<![\w)])[-−])?(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?![\w])\s?%?")
_CALL_LABELS = ("action", "actioninput")
_MAX_CHARS = 200  # of a value that a sentence may repeat
_MAX_VALUES = 200  # of one observation; more no sentence tells


class AnswerFigures(Record):
    """Final answers of one setting, after calls that the tool answered.

    Attributes:
        n: how many calls there are.
        supported: share of all these, with an interval clustered by tool.
        counts: by outcome, all of them.
    """

    n: int
    supported: Proportion
    counts: dict[str, int]


def score_answer(prediction: Prediction, arguments_json: str) -> AnswerOutcome | Literal[""]:
    """Decide what a final answer is worth; empty: no call was executed, or the tool failed.

    Args:
        prediction: with what the tool returned, and the final answer.
        arguments_json: of the call that was executed.
    """
    if prediction.observation_status != "ok":
        return ""
    answer = prediction.final_answer
    calls = any(marker.label in _CALL_LABELS for marker in find_markers(answer))
    if prediction.final_error or calls or not answer.strip():
        return "missing"
    observation = _read(prediction.observation)
    given = f"{prediction.query}\n{arguments_json}"
    known = {*_numbers(prediction.observation), *_numbers(given), *_lengths(observation)}
    sign_differs = False
    values = list(_values(observation))
    for number, percent in _written(_without(answer, [*values, *_values(_read(arguments_json))])):
        if not _is_known(number, percent, known):
            if not _is_known(-number, percent, known):
                return "unsupported"
            sign_differs = True
    new = [value for value in values if find_value(value, given) is None]
    if not new or sign_differs:
        return "undecided"
    return "supported" if any(_tells(answer, value) for value in new) else "unanswered"


def summarise_answers(
    scores: Iterable[Score],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> AnswerFigures | None:
    """Summarise the final answers of one setting; None: it has none, or no call was executed."""
    by_tool: dict[str, list[str]] = defaultdict(list)
    for score in scores:
        if score.answer:
            by_tool[score.tool].append(score.answer)
    counts = Counter(outcome for outcomes in by_tool.values() for outcome in outcomes)
    if set(counts) <= {"missing"}:
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
        yield from (str(abs(number)) for number in dict.fromkeys(_numbers(observation)))
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


def _written(text: str) -> Iterator[tuple[Decimal, bool]]:
    """Yield the numbers in a text, as written, and whether each is a percentage."""
    for match in _NUMBER.finditer(text):
        digits = match[0].rstrip("% ").replace(",", "").replace("−", "-").rstrip()
        yield Decimal(digits), match[0].endswith("%")


def _numbers(text: str) -> Iterator[Decimal]:
    return (number for number, _ in _written(text))


def _is_known(number: Decimal, percent: bool, known: Iterable[Decimal]) -> bool:
    return any(
        _rounds_to(one, number) or (percent and _rounds_to(one * 100, number)) for one in known
    )


def _rounds_to(exact: Decimal, number: Decimal) -> bool:
    """Whether a number is another one, or that one rounded to two digits or more."""
    if exact == number:
        return True
    if len(number.as_tuple().digits) < 2:
        return False
    exponent = number.as_tuple().exponent
    unit = Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(1)
    return abs(exact - number) <= unit / 2


def _tells(answer: str, value: str) -> bool:
    if find_value(value, answer) is not None:
        return True
    numbers = list(_numbers(value))
    if len(numbers) != 1 or not re.fullmatch(r"[-−]?[\d.,]+", value):
        return False
    known = [abs(numbers[0])]
    return any(_is_known(abs(one), percent, known) for one, percent in _written(answer))


def _without(text: str, values: Iterable[str]) -> str:
    """Return a text without the values that it holds, in whatever form they stand there."""
    for value in values:
        written = find_value(value, text)
        if written is not None:
            text = text.replace(written, " … ")
    return text
