"""Compares two argument objects: the same where the words of the differing values are the same."""

from __future__ import annotations

import json
import re
from typing import Any

from ste_ray.simulated_provider.teacher.words import stems

_SECTIONS = re.compile(
    r"The right arguments:\n(?P<gold>[\s\S]*?)\n\nThe other arguments:\n(?P<predicted>[\s\S]*?)"
    r"\n\nThey differ in: (?P<names>.*)\n"
)


def score(prompt: str) -> str:
    """Return a verdict and a reason on the sections of a scorer's prompt."""
    match = _SECTIONS.search(prompt)
    if match is None:
        return _lines("Unsure", "the sections cannot be read")
    try:
        gold, predicted = json.loads(match["gold"]), json.loads(match["predicted"])
    except ValueError:
        return _lines("Unsure", "the arguments cannot be read")
    for name in match["names"].split(", "):
        right, other = _words(gold.get(name)), _words(predicted.get(name))
        if not right or not other:
            return _lines("Unsure", f"{name} holds no words to compare")
        if right != other:
            return _lines("Different", f"{name} does not say the same")
    return _lines("Same", "the values have the same words")


def _words(value: Any) -> frozenset[str]:
    text = value if isinstance(value, str) else json.dumps(value)
    return stems(text) | frozenset(re.findall(r"\d+", text))


def _lines(verdict: str, reason: str) -> str:
    return f"Verdict: {verdict}\nReason: {reason}"
