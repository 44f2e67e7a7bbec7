"""Final answers and reflections: the observation in a sentence, or an honest failure."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from ste_ray.simulated_provider.teacher.conversation import Conversation
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.loading import data, pattern

_MAX_FACTS, _MAX_ITEMS, _MAX_LABEL_WORDS = 6, 8, 4
_MAX_CHARS, _MAX_ERROR_CHARS = 200, 120


def success_answer(observation: str, rng: random.Random) -> str:
    """Return one sentence that quotes the values of an observation."""
    try:
        facts = _facts(json.loads(observation))
    except ValueError:
        facts = _facts(observation)
    label = facts[0][0] if len(facts) == 1 else ""
    if len(facts) == 1 and not label:
        return _say("plain", facts[0][1], "", rng)
    if label and len(label.split()) <= _MAX_LABEL_WORDS:
        return _say("labelled", facts[0][1], label, rng)
    listed = ", ".join(f"{label} {text}".strip() for label, text in facts[:_MAX_FACTS])
    return _say("many", listed, "", rng)


def _say(kind: str, value: str, label: str, rng: random.Random) -> str:
    template: str = rng.choice(data("replies")["answers"][kind])
    return template.replace("{l}", label).replace("{v}", value)


def _facts(value: Any, label: str = "") -> list[tuple[str, str]]:
    """Return label and text of each value in a JSON value, outermost first."""
    if isinstance(value, dict):
        named = [(f"{label} {_spoken(str(key))}".strip(), item) for key, item in value.items()]
        return [fact for name, item in named for fact in _facts(item, name)]
    if not isinstance(value, list):
        return [(label, _text(value))]
    if any(isinstance(item, dict | list) for item in value):
        return [fact for item in value[:_MAX_ITEMS] for fact in _facts(item, label)]
    return [(label, ", ".join(map(_text, value[:_MAX_ITEMS])) or "none")]


def _spoken(key: str) -> str:
    return re.sub(r"[_-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)).lower()


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "unknown"}[value]
    text = str(value).strip().rstrip(".")
    return text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS].rpartition(" ")[0]


def failure_answer(observation: str, rng: random.Random) -> str:
    """Return an honest sentence about a request that could not be answered."""
    error = " ".join(observation.split())[:_MAX_ERROR_CHARS] or "nothing"
    return _say("failure", error.replace('"', "'"), "", rng)


def is_failure_answer(text: str) -> bool:
    """Whether a final answer says that there is no answer."""
    return not text.strip() or pattern("replies", "failure marks").search(text) is not None


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
