"""Reads verdicts: yes or no, and the judge's reply of three verdicts with their reasons.

A judge is asked for three lines; models also number them, put them in bold, write the verdict on
the next line, or answer with a JSON object. What cannot be read is unparsable, never a yes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ste_ray.core.records import Verdict
from ste_ray.core.replies.strict_json import clip

QUESTIONS = ("informative", "faithful", "appropriate")
_DECORATION = r"[\s*_\"'`#>“”‘’(\[-]*+"
_YES_NO = re.compile(
    rf"{_DECORATION}(?:answer{_DECORATION}:{_DECORATION})?(yes|no)(?![^\W_])"
    r"(?P<other>\W{0,3}(?:and|or|/|&)\W{0,3}(?:yes|no)(?![^\W_]))?",
    re.IGNORECASE,
)
_LINE = re.compile(
    r"^[ \t>*_#`(|-]*+(?:\d{1,2}[.)][ \t*_]*+)?(informative|faithful|appropriate)"
    r"[ \t*_`)]*+[:=–—?|-][ \t:*_]*+(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_LINE = re.compile(r"\n[ \t]*+\n?([^\n]++)")
_REASON = re.compile(r"\A[\W_]*(?:yes|no)(?![^\W_])[\s*_:,;.|–—-]*", re.IGNORECASE)
_VERDICT_KEYS = ("verdict", "answer", "value", "result")
_REASON_KEYS = ("reason", "explanation", "why")


def parse_yes_no(text: str) -> Verdict:
    """Read the first word of a reply as a verdict; Markdown, quotes and "Answer:" may precede it.

    What begins with neither word, or with both ("Yes and no", "Yes or No"), is unparsable, which
    never counts as success.
    """
    match = _YES_NO.match(text)
    if not match or match["other"]:
        return "unparsable"
    return "yes" if match[1].lower() == "yes" else "no"


class JudgedQuestion(NamedTuple):
    """The verdict on one question and its reason; for an unparsable one, what could not be read."""

    verdict: Verdict
    reason: str = ""


def parse_judgment(text: str) -> dict[str, JudgedQuestion]:
    """Return the verdicts on the three questions, by question.

    A line that is missing, has no verdict, or comes twice with different ones is unparsable.
    """
    found = _from_json(text)
    if found is None:
        found = {}
        for match in _LINE.finditer(text):
            question, answer = match[1].lower(), _read(match[2].strip() or _next_line(text, match))
            before = found.setdefault(question, answer)
            if before.verdict != answer.verdict:
                found[question] = JudgedQuestion(
                    "unparsable", "it comes twice, with different verdicts"
                )
    missing = JudgedQuestion("unparsable", "it is not there")
    return {question: found.get(question, missing) for question in QUESTIONS}


def _next_line(text: str, match: re.Match[str]) -> str:
    """Return the line behind an empty one; of another question it is none of ours."""
    following = _NEXT_LINE.match(text, match.end())
    return "" if following is None or _LINE.match(following[1]) else following[1]


def _read(text: str) -> JudgedQuestion:
    verdict = parse_yes_no(text)
    if verdict == "unparsable":
        return JudgedQuestion(
            verdict, f"neither yes nor no: {clip(text)}" if text else "it is empty"
        )
    return JudgedQuestion(verdict, _REASON.sub("", text, count=1).strip(" \t*_|"))


def _from_json(text: str) -> dict[str, JudgedQuestion] | None:
    """Read a reply that is one JSON object, perhaps in a fence; None: it is none."""
    start = text.find("{")
    if start < 0 or text[:start].strip().strip("`").strip().lower() not in ("", "json"):
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    folded = {str(key).lower(): item for key, item in value.items()}
    return {question: _read_value(folded, question) for question in QUESTIONS if question in folded}


def _read_value(values: Mapping[str, Any], question: str) -> JudgedQuestion:
    value, reason = values[question], values.get(f"{question}_reason")
    if isinstance(value, Mapping):
        folded = {str(key).lower(): item for key, item in value.items()}
        value = next((folded[key] for key in _VERDICT_KEYS if key in folded), None)
        reason = next((folded[key] for key in _REASON_KEYS if key in folded), None)
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if not isinstance(value, str):
        return JudgedQuestion("unparsable", f"neither yes nor no: {clip(json.dumps(value))}")
    answer = _read(value)
    if answer.verdict != "unparsable" and isinstance(reason, str) and reason.strip():
        return JudgedQuestion(answer.verdict, reason.strip())
    return answer
