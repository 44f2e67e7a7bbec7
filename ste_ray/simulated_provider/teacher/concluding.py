"""Final answers and reflections: the observation in a sentence, or an honest failure."""

from __future__ import annotations

import random
import re
from typing import Any

from ste_ray.simulated_provider.teacher.conversation import Conversation
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.facts import (
    Asked,
    Fact,
    number_text,
    read_facts,
    scalars,
    spoken,
)
from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.words import capitalise

_MAX_ITEMS, _MAX_ITEM_FIELDS, _MAX_ITEM_CHARS = 6, 3, 80
_MAX_CHARS, _MAX_ERROR_CHARS = 200, 120
_SENTENCE_WORDS = 4  # a text of so many words that ends with a full stop says it all


def success_answer(observation: str, asked: Asked, rng: random.Random) -> str:
    """Return one sentence that says what an observation adds to what was asked.

    Args:
        observation: what the tool returned.
        asked: the request, and the call with what its tool takes.
        rng: decides the wording.
    """
    facts = read_facts(observation, asked)
    only = facts[0]
    if len(facts) > 1 or only.label:
        return _say("clauses", _listed([_clause(fact) for fact in facts]), rng)
    if isinstance(only.value, list):
        return _say("plain", _items(only.value) or "none", rng)
    text = _text(only.value)
    if text.endswith(".") and len(text.split()) >= _SENTENCE_WORDS:
        return text
    return _say("plain", text, rng)


def _say(kind: str, text: str, rng: random.Random) -> str:
    template: str = rng.choice(data("answers")[kind])
    before, mark, after = template.partition("{C}")
    if mark:
        text = capitalise(text)
    else:
        before, _, after = re.split(r"(\{[cv]\})", template)
    said = f"{before}{text}{after}"
    return said[:-1] if said.endswith("..") else said


def _clause(fact: Fact) -> str:
    """Return what a fact says, to stand within a sentence."""
    label, value = fact.label, fact.value
    if isinstance(value, bool):
        return _verdict(label, value)
    if isinstance(value, list):
        if not (items := _items(value)):
            return f"there are no {label}"
        label = label if len(value) > 1 else _singular(label)
        return f"{_name(label)} {'are' if len(value) > 1 else 'is'} {items}"
    if pattern("answers", "forms").search(label):
        label = f"{label} form"
    return f"{_name(label)} {'are' if _is_plural(label) else 'is'} {_text(value)}"


def _verdict(label: str, value: bool) -> str:
    if pattern("answers", "said of it").search(label):
        return f"it is {label}" if value else f"it is not {label}"
    if match := pattern("answers", "verbs").search(label):
        verb, rest = match["verb"], match["rest"]
        if verb == "has":
            return f"it has {rest}" if value else f"it has no {rest}"
        return f"it {verb} {rest}" if value else f"it {verb} not {rest}"
    return f"the answer for {label} is {_text(value)}"


def _name(label: str) -> str:
    """Return a label with its article; names and dates that a tool uses as keys have none."""
    return f"the {label}" if re.match(r"[a-z]|[A-Z]{2,} ?[a-z]|[A-Z]{2,}$", label) else label


def _is_plural(label: str) -> bool:
    head = label.partition(" of ")[0]
    return head.endswith("s") and pattern("answers", "singular").search(head) is None


def _singular(label: str) -> str:
    if not _is_plural(label):
        return label
    head, of, rest = label.partition(" of ")
    one = re.sub(r"(?<=ch|sh|ss)es$|(?<=[xz])es$|s$", "", re.sub("ies$", "ys", head))
    return f"{one}{of}{rest}"


def _items(values: list[Any]) -> str:
    """Return what a list holds; of a long one the beginning, and how many more there are."""
    texts = [_item(value) for value in values]
    if len(texts) <= _MAX_ITEMS:
        return _listed(texts)
    shown = texts[: _MAX_ITEMS - 1]
    return _listed([*shown, f"{len(texts) - len(shown)} more"])


def _item(value: Any) -> str:
    if isinstance(value, list):
        plain = [_text(item) for item in value if not isinstance(item, dict | list)]
        return f"({', '.join(plain[:_MAX_ITEM_FIELDS])})" if plain else "a list"
    if not isinstance(value, dict):
        return _text(value, _MAX_ITEM_CHARS)
    texts = [
        (spoken(key) if item else f"not {spoken(key)}")
        if isinstance(item, bool)
        else _text(item, _MAX_ITEM_CHARS)
        for key, item in scalars(value)[:_MAX_ITEM_FIELDS]
    ]
    if len(texts) <= 1:
        return "".join(texts) or "an object"
    return f"{texts[0]} ({', '.join(texts[1:])})"


def _listed(texts: list[str]) -> str:
    if len(texts) <= 1:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def _text(value: Any, max_chars: int = _MAX_CHARS) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "unknown"}[value]
    if isinstance(value, int | float):
        return number_text(value)
    text = " ".join(str(value).split())
    if len(text) <= max_chars:
        return text or "empty"
    return text[:max_chars].rpartition(" ")[0] or text[:max_chars]


def failure_answer(observation: str, rng: random.Random) -> str:
    """Return an honest sentence about a request that could not be answered."""
    error = " ".join(observation.split())[:_MAX_ERROR_CHARS] or "nothing"
    return _say("failure", error.replace('"', "'"), rng)


def is_failure_answer(text: str) -> bool:
    """Whether a final answer says that there is no answer."""
    return not text.strip() or pattern("answers", "failure marks").search(text) is not None


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
