"""Paraphrases of a query, asked in one conversation so that each differs from the others."""

from __future__ import annotations

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.parsing import clean_query
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Message, Record
from ste_ray.core.replies import assistant_message
from ste_ray.core.selecting import copied_values, find_value, normalise

_SAMPLING = Sampling(temperature=1.0, max_tokens=240)


class Paraphrase(Record):
    """A new wording, or the reason why it was dropped."""

    text: str
    kept: bool
    reason: str = ""


def num_paraphrases(num_examples: int, target: int, maximum: int) -> int:
    """Return how many paraphrases each of a tool's examples gets.

    Examples and paraphrases together are at most ``target`` (the study: up to 150, at most 6 each).
    """
    if num_examples == 0:
        return 0
    return max(0, min(target // num_examples - 1, maximum))


def paraphrase_flow(
    query: str, arguments_json: str, count: int, prompts: PromptSet
) -> Flow[list[Paraphrase]]:
    """Ask for ``count`` paraphrases; one that is a copy, cut, or loses a value is re-asked once."""
    values = copied_values(query, arguments_json)
    listed = ", ".join(values) if values else "none"
    messages = [_user(prompts.render("paraphrase_first", query=query, values=listed))]
    results: list[Paraphrase] = []
    seen = {normalise(query)}
    for _ in range(count):
        for attempt in range(2):
            request = AskModel(role="paraphraser", messages=tuple(messages), sampling=_SAMPLING)
            reply = yield request
            assert isinstance(reply, ModelReply)
            text = clean_query(reply.text)
            messages.append(assistant_message(reply.text))
            messages.append(_user(prompts.render("paraphrase_next")))
            cut = reply.finish_reason != "stop"
            reason = "cut off" if cut else _fault(text, seen, values)
            if not reason or attempt:
                results.append(Paraphrase(text=text, kept=not reason, reason=reason))
                break
        seen.add(normalise(text))
    return results


def _user(content: str) -> Message:
    return Message(role="user", content=content)


def _fault(text: str, seen: set[str], values: tuple[str, ...]) -> str:
    if not text:
        return "empty paraphrase"
    if normalise(text) in seen:
        return "a copy of an earlier wording"
    lost = [value for value in values if not find_value(value, text)]
    return f"lost the value {lost[0]!r}" if lost else ""
