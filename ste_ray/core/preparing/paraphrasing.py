"""Paraphrases of a query, asked in one conversation so that each differs from the others."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.preparing.values import RequiredValue, find_value, required_values
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Message, Record
from ste_ray.core.replies.conversation import assistant_message, explained, failure_of
from ste_ray.core.replies.queries import clean_query

_MAX_TOKENS = 240
_SAMPLING = Sampling(temperature=1.0, max_tokens=_MAX_TOKENS)
_ATTEMPTS = 2


class Paraphrase(Record):
    """A new wording, or the reason why it was dropped."""

    text: str
    kept: bool
    reason: str = ""


def num_paraphrases(num_examples: int, target: int, maximum: int) -> int:
    """Return how many paraphrases each of a tool's examples gets.

    Examples and paraphrases together come near ``target`` (the study: 150, at most 6 paraphrases
    each): ``round(target / num_examples) - 1``, halves rounded to even.
    """
    if num_examples == 0:
        return 0
    return max(0, min(round(target / num_examples) - 1, maximum))


def paraphrase_flow(
    query: str, arguments_json: str, count: int, prompts: PromptSet
) -> Flow[list[Paraphrase]]:
    """Ask for ``count`` paraphrases; one that is a copy, cut, or loses a value is re-asked once.

    A reply that the endpoint refuses or cannot give ends the conversation: what follows would be
    refused too.
    """
    values = required_values(query, arguments_json)
    listed = ", ".join(value.written for value in values) if values else "none"
    messages = [_user(prompts.render("paraphrase_first", query=query, values=listed))]
    results: list[Paraphrase] = []
    seen = {normalise(query)}
    for _ in range(count):
        for attempt in range(1, _ATTEMPTS + 1):
            request = AskModel(role="paraphraser", messages=tuple(messages), sampling=_SAMPLING)
            reply = yield request
            assert isinstance(reply, ModelReply)
            text = clean_query(reply.text)
            reason = explained(reply, _MAX_TOKENS, "paraphraser") or _fault(text, seen, values)
            ended = reply.finish_reason not in ("stop", "length")
            if not reason or ended or attempt == _ATTEMPTS:
                results.append(Paraphrase(text=text, kept=not reason, reason=reason))
                break
            problem = failure_of(reply, _MAX_TOKENS) or reason  # advice is not for the model
            again = prompts.render("paraphrase_again", problem=problem)
            messages += [assistant_message(reply.text), _user(again)]
        if ended:
            break
        messages += [assistant_message(reply.text), _user(prompts.render("paraphrase_next"))]
        seen.add(normalise(text))
    return results


def _user(content: str) -> Message:
    return Message(role="user", content=content)


def _fault(text: str, seen: set[str], values: Sequence[RequiredValue]) -> str:
    if not text:
        return "empty paraphrase"
    if normalise(text) in seen:
        return "a copy of an earlier wording"
    for value in values:
        # Another form of the value will do, and so will its wording in the query.
        if find_value(value.value, text) is None and find_value(value.written, text) is None:
            return f"lost the value {value.written!r}"
    return ""
