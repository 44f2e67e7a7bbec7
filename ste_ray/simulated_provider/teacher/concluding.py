"""Final answers and reflections: the observation in a sentence, or an honest failure."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from ste_ray.simulated_provider.teacher.conversation import Conversation
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.words import capitalise

_MAX_FACTS = 6
_MAX_ITEMS = 8
_MAX_CHARS = 200
_SINGLE = (
    "The answer is {v}.",
    "It is {v}.",
    "The result is {v}.",
    "Here is the result: {v}.",
    "That gives {v}.",
    "You get {v}.",
)
_MANY = (
    "Here is what I found: {v}.",
    "The result: {v}.",
    "I found this: {v}.",
    "These are the details: {v}.",
    "The answer is as follows: {v}.",
)
_FAILURES = (
    'I could not find that out: the tool answered "{e}".',
    'Unfortunately I could not get a result; the tool said "{e}".',
    'I am sorry, I could not do this. The tool replied "{e}".',
    'That did not work; the tool only returned "{e}".',
)
_FAILURE_MARK = re.compile(
    r"\b(?:I could not|I couldn't|I cannot|I can't|did not work|unable to|I am sorry|"
    r"unfortunately)\b",
    re.I,
)


def success_answer(request: str, observation: str, rng: random.Random) -> str:
    """Return one sentence that quotes the values of an observation."""
    try:
        value = json.loads(observation)
    except ValueError:
        value = observation
    facts = _facts(value)
    if len(facts) == 1 and not facts[0][0]:
        return rng.choice(_SINGLE).replace("{v}", facts[0][1])
    if len(facts) == 1 and len(facts[0][0].split()) <= 4:
        label, text = facts[0]
        return rng.choice((f"The {label} is {text}.", f"{capitalise(label)}: {text}."))
    listed = ", ".join(f"{label} {text}".strip() for label, text in facts[:_MAX_FACTS])
    return rng.choice(_MANY).replace("{v}", listed)


def _facts(value: Any, label: str = "") -> list[tuple[str, str]]:
    """Return label and text of each value in a JSON value, outermost first."""
    if isinstance(value, dict):
        return [
            fact
            for key, item in value.items()
            for fact in _facts(item, f"{label} {_spoken(str(key))}".strip())
        ]
    if isinstance(value, list):
        if all(not isinstance(item, dict | list) for item in value):
            items = ", ".join(_text(item) for item in value[:_MAX_ITEMS])
            return [(label, items or "none")]
        return [fact for item in value[:_MAX_ITEMS] for fact in _facts(item, label)]
    return [(label, _text(value))]


def _spoken(key: str) -> str:
    return re.sub(r"[_-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)).lower()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "unknown"
    text = str(value).strip().rstrip(".")
    return text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS].rpartition(" ")[0]


def failure_answer(observation: str, rng: random.Random) -> str:
    """Return an honest sentence about a request that could not be answered."""
    error = " ".join(observation.split())[:120] or "nothing"
    return rng.choice(_FAILURES).replace("{e}", error.replace('"', "'"))


def is_failure_answer(text: str) -> bool:
    """Whether a final answer says that there is no answer."""
    return not text.strip() or bool(_FAILURE_MARK.search(text))


def reflect(conversation: Conversation) -> str:
    """Return Yes or No, with the reason, on the conversation's last round."""
    current = conversation.rounds[-1] if conversation.rounds else None
    if current is None or not current.calls:
        return "No. The tool was never called."
    last = current.calls[-1].observation
    if last is None:
        return "No. The last call brought no result."
    if is_error(last):
        return "No. The last call ended with an error."
    if is_failure_answer(current.final_answer):
        return "No. There is no answer that a result supports."
    return "Yes. The tool returned a result, and the answer quotes it."
