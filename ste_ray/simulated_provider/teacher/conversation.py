"""What a request's messages say: the tool, the rounds so far, and what is asked for now."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ste_ray.simulated_provider.teacher.schema import Tool, read_tools

Task = Literal[
    "imagine",
    "answer",
    "reflect",
    "judge",
    "paraphrase",
    "simulate",
    "act",
    "score",
    "score_answer",
    "write_test",
    "check_test",
    "other",
]
OBSERVATION = "Observation:"
_WRITES_TEST = ("Reword a request ", "Take a value out of a request.", "Write a request that no ")
_CHECKS_TEST = "You decide what an assistant with some tools should do"
# What a scorer compares or looks at, and which verdicts it may give.
_SCORES: dict[Task, tuple[str, str]] = {
    "score": ("The other arguments:\n", "Verdict: Same, Different or Unsure"),
    "score_answer": (
        "The final answer:\n",
        "Verdict: Supported, Unsupported, Unanswered or Unsure",
    ),
}
_ACTION_INPUT = re.compile(r"^Action Input:\s*", re.M)
_MEMORY_LINE = re.compile(r"^- (?P<query>.+?)(?P<mark> \(solved\)| \(not solved\))?$", re.M)
_SUGGESTS = "Of what the parameters of the tool allow"
_SUGGESTION_LINE = re.compile(r"^- (.+)$", re.M)
_MAX_TURNS = re.compile(r"at most (\d+) times")


@dataclass
class Call:
    """A call that was made, and what came back (None: nothing has yet)."""

    arguments: dict[str, Any]
    observation: str | None = None


@dataclass
class Round:
    """A request, the calls that tried to answer it, and the final answer."""

    request: str
    calls: list[Call] = field(default_factory=list)
    final_answer: str = ""
    max_turns: int = 4
    num_observations: int = 0


@dataclass
class Conversation:
    """The messages of an exploration, read."""

    tools: list[Tool]
    rounds: list[Round]
    remembered: list[tuple[str, bool]]  # earlier requests and whether they were solved
    suggested: list[str] = field(default_factory=list)  # what the next request may call for


def task_of(messages: Sequence[dict[str, Any]]) -> Task:
    """Return what the last message asks for."""
    first, last = text_of(messages[0]), text_of(messages[-1])
    if messages[0].get("role") == "system" and "\n\nThe tools:\n\n" in first:
        return "act"
    if first.startswith(_CHECKS_TEST):
        return "check_test"
    if first.startswith(_WRITES_TEST):
        return "write_test"
    if (scores := _scored(first, last)) is not None:
        return scores
    if last.rstrip().endswith("User Query:"):
        return "imagine"
    if last.rstrip().endswith("Answer of the service:") and not last.startswith(OBSERVATION):
        return "simulate"
    if last.startswith(OBSERVATION) or ("Action Input:" in last and "Final Answer:" in last):
        return "answer"
    if all(mark in last for mark in ("Informative:", "Faithful:", "Appropriate:")):
        return "judge"
    if "Yes" in last and "No" in last and len(messages) > 1:
        return "reflect"
    return "paraphrase" if "other words" in first and "wording" in last else "other"


def _scored(first: str, last: str) -> Task | None:
    """Return what a scorer is asked for; None: nothing."""
    for task, (section, verdicts) in _SCORES.items():
        if section in first and verdicts in last:
            return task
    return None


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message; of several parts, the texts joined."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def read_conversation(messages: Sequence[dict[str, Any]]) -> Conversation:
    """Read the rounds of an exploration out of its messages."""
    texts = [text_of(message) for message in messages]
    tools = [tool for text in texts for tool in read_tools(text)]
    rounds: list[Round] = []
    asks_for_request = False
    for message, text in zip(messages, texts, strict=True):
        if message.get("role") != "assistant":
            asks_for_request = text.rstrip().endswith("User Query:")
            if rounds and not asks_for_request:
                _read_prompt(text, rounds[-1])
        elif asks_for_request:
            rounds.append(Round(" ".join(text.split())))
            asks_for_request = False
        elif rounds:
            _read_reply(text, rounds[-1])
    memory, _, suggestions = texts[-1].partition(_SUGGESTS)
    suggested = _SUGGESTION_LINE.findall(suggestions)
    return Conversation(tools, rounds, _read_memory(memory), suggested)


def _read_reply(text: str, current: Round) -> None:
    match = _ACTION_INPUT.search(text)
    if match is not None:
        arguments = json_at(text, match.end())
        if isinstance(arguments, dict):
            current.calls.append(Call(arguments))
    elif "Final Answer:" in text:
        current.final_answer = text.partition("Final Answer:")[2].strip()


def json_at(text: str, start: int = 0) -> Any:
    """Return the JSON value that begins there in ``text``; None where there is none."""
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _read_prompt(text: str, current: Round) -> None:
    turns = _MAX_TURNS.search(text)
    if turns is not None and "Action Input:" in text:
        current.max_turns = int(turns[1])
    if text.startswith(OBSERVATION):
        current.num_observations += 1
        if current.calls and current.calls[-1].observation is None:
            current.calls[-1].observation = text.removeprefix(OBSERVATION).strip()


def _read_memory(prompt: str) -> list[tuple[str, bool]]:
    start = prompt.find("already been tried")
    lines = _MEMORY_LINE.finditer(prompt, start) if start >= 0 else ()
    return [(match["query"], match["mark"] != " (not solved)") for match in lines]
