"""Takes off what a model reasons before it answers, whatever form it writes that in.

Reasoning models put their thoughts in front of the answer: as ``<think>…</think>`` and its kin, as
channels of the harmony format, under headings, or as text that a closing tag ends whose opening one
stood in the prompt. What is taken off is the *beginning* of a text: a tag that an answer mentions
further on, in an argument for example, is part of the answer. Texts without reasoning are returned
as they are, to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from ste_ray.core.replies.markers import find_markers, marker_at_start
from ste_ray.core.replies.reasoning_marks import (
    ANSWER,
    ANSWER_END,
    BARE_FINAL,
    BARE_HARMONY,
    BLANK,
    CHANNEL,
    CLOSE,
    FRAMES,
    HARMONY,
    OPEN,
    QUOTES,
    SPECIAL,
)


@dataclass(frozen=True, slots=True)
class Separated:
    """A text taken apart.

    Attributes:
        content: the answer, without what stood before it.
        reasoning: what stood before it, without its tags; empty: nothing.
        unclosed: whether the text ended within the reasoning, so that there is no answer.
    """

    content: str
    reasoning: str = ""
    unclosed: bool = False


# Bounds on the work that a text can make; no reply of a model comes near.
_MAX_BLOCKS = 32
_MAX_TAGS = 200
_LINE_CHARS = 4000


def separate(text: str, opened: bool = False) -> Separated:
    """Take off the reasoning that ``text`` begins with.

    Args:
        text: what a model wrote.
        opened: whether the prompt ended in an opening tag, so that the text begins within one. Then
            a text without a closing tag is nothing but reasoning.
    """
    found = _harmony(text) or _headed(text) or _tagged(text, opened)
    if opened and found.content == text:
        return Separated("", text.strip(), unclosed=True)
    return found


def opens_reasoning(prompt: str) -> bool:
    """Whether a prompt ends in a tag that opens reasoning, as some chat templates have it."""
    tail = prompt[-120:].rstrip()
    return any(match.end() == len(tail) for match in OPEN.finditer(tail))


def without_opening(prompt: str) -> str:
    """Return a prompt without the tag that opens reasoning, if it ends in one."""
    if not opens_reasoning(prompt):
        return prompt
    start = max(0, len(prompt) - 120)
    last = [match.start() for match in OPEN.finditer(prompt, start)][-1]
    return prompt[:last]


def reasoning_tokens(tokens: Iterable[str]) -> frozenset[str]:
    """Return those of a tokenizer's tokens that tell reasoning from the answer.

    They must stay in what is decoded, although a tokenizer may count them as special.
    """
    given = frozenset(tokens)
    found = {token for token in given if OPEN.fullmatch(token) or CLOSE.fullmatch(token)}
    if "<|channel|>" in given:
        found |= {token for token in given if SPECIAL.fullmatch(token)}
    return frozenset(found)


def estimated_tokens(completion_tokens: int, reasoning: str, content: str) -> int:
    """Return how many of the tokens are reasoning's, by its share of the characters."""
    chars = len(reasoning) + len(content)
    return round(completion_tokens * len(reasoning) / chars) if chars else 0


def _tagged(text: str, opened: bool = False) -> Separated:
    """Take off blocks in tags; also those that follow, and one whose opening tag is missing."""
    thoughts: list[str] = []
    place = 0
    for _ in range(_MAX_BLOCKS):
        start = _opening(text, place)
        closing = _closing(text, start) if start else _orphan(text, place, opened)
        if start and not closing:
            return _put_together([*thoughts, text[start.end() :]], "", unclosed=True)
        if not closing:
            break
        thoughts.append(text[start.end() if start else place : closing.start()])
        place = closing.end()
    if place == 0:
        return _after_preamble(text)
    return _put_together(thoughts, _unwrapped(text[place:]))


def _opening(text: str, place: int) -> re.Match[str] | None:
    """Return the tag that the text begins with from ``place`` on."""
    blank = BLANK.match(text, place)
    return OPEN.match(text, blank.end() if blank else place)


def _closing(text: str, opening: re.Match[str]) -> re.Match[str] | None:
    """Return the tag that closes a block: the one at which its own tags are in balance.

    Where they never are, because the reasoning speaks of such a tag, it is the last one; where none
    has the same name, the first of any name in the same brackets. Quoted tags do not count.
    """
    name, depth = _name(opening), 1
    other: re.Match[str] | None = None
    last: re.Match[str] | None = None
    for tag in _tags(text, opening.end()):
        closes = tag.re is CLOSE
        if _name(tag) == name:
            depth += -1 if closes else 1
            last = tag if closes else last
            if depth == 0:
                return tag
        elif closes and tag.lastgroup == opening.lastgroup:
            other = other or tag
    return last or other


def _tags(text: str, place: int) -> list[re.Match[str]]:
    """Return the first tags from ``place`` on that are not quoted, in order."""
    found = [
        *islice(OPEN.finditer(text, place), _MAX_TAGS),
        *islice(CLOSE.finditer(text, place), _MAX_TAGS),
    ]
    return sorted((tag for tag in found if not _is_quoted(text, tag)), key=re.Match.start)


def _name(tag: re.Match[str]) -> str:
    kind = str(tag.lastgroup)
    # One tag of each of these kinds: what names it differs between opening and closing.
    return kind if kind in ("turned", "details", "begin") else f"{kind} {tag[kind].lower()}"


def _orphan(text: str, place: int, opened: bool) -> re.Match[str] | None:
    """Return a closing tag from ``place`` on whose opening one is not in the text.

    In a text that begins like an answer, or behind a block that was closed, it must have the end of
    a line for itself.
    """
    strict = place > 0 or (not opened and _begins_like_an_answer(text))
    for tag in _tags(text, place) if CLOSE.search(text, place) else ():
        if tag.re is OPEN:
            return None
        if tag.lastgroup != "details" and (not strict or _ends_a_line(text, tag)):
            return tag
    return None


def _begins_like_an_answer(text: str) -> bool:
    start = text[:200].lstrip()
    return marker_at_start(start) is not None or start[:1] in ("{", "[")


def _ends_a_line(text: str, tag: re.Match[str]) -> bool:
    line_end = text.find("\n", tag.end())
    return not text[tag.end() : line_end if line_end >= 0 else len(text)].strip()


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    """Whether a tag is spoken of: between quotes, in code, or within a string of JSON."""
    before, after = text[tag.start() - 1 : tag.start()], text[tag.end() : tag.end() + 1]
    if before and after and before in QUOTES and after in QUOTES:
        return True
    left = text[max(0, tag.start() - _LINE_CHARS) : tag.start()].rpartition("\n")[2]
    right = text[tag.end() : tag.end() + _LINE_CHARS].partition("\n")[0]
    return any(
        _num_quotes(left, quote) % 2 == 1 and _num_quotes(right, quote) % 2 == 1
        for quote in ('"', "`")
    )


def _num_quotes(line: str, quote: str) -> int:
    return line.count(quote) - line.count(f"\\{quote}")


def _after_preamble(text: str) -> Separated:
    """Take off a block that has its lines for itself, behind a few words of greeting.

    Only before the first marker of the reply format: what follows one is the answer.
    """
    first = OPEN.search(text)
    if first is None or first.start() == 0 or text[first.start() - 1] != "\n":
        return Separated(text)
    before = text[: first.start()]
    answers = any(marker.label != "thought" for marker in find_markers(before))
    closing = None if answers or before.lstrip()[:1] in ("{", "[") else _closing(text, first)
    if closing is None or not _ends_a_line(text, closing):
        return Separated(text)
    content = f"{before.rstrip()}\n{text[closing.end() :].lstrip()}"
    return _put_together([text[first.end() : closing.start()]], content)


def _headed(text: str) -> Separated | None:
    blank = BLANK.match(text)
    place = blank.end() if blank else 0
    for opening, closing, is_certain in FRAMES:
        start = opening.match(text, place)
        end = closing.search(text, start.end()) if start else None
        if start and end:
            content = ANSWER_END.sub("", text[end.end() :])
            return _put_together([text[start.end() : end.start()]], content)
        if start and is_certain:
            return _put_together([text[start.end() :]], "", unclosed=True)
    return None


def _harmony(text: str) -> Separated | None:
    """Read the channels of the harmony format: ``final`` is the answer, all else is reasoning."""
    if HARMONY.match(text):
        thoughts: list[str] = []
        final: list[str] = []
        for match in CHANNEL.finditer(text):
            place = final if match["head"].strip().lower().startswith("final") else thoughts
            place.append(match["body"])
        return _put_together(thoughts, "\n".join(final).lstrip(), unclosed=not final)
    heading = BARE_HARMONY.match(text)
    if heading is None:
        return None
    if BARE_FINAL not in text:
        # No word is written so; the reply was cut before its answer.
        cut = heading["glued"] is not None
        return _put_together([text[heading.end() :]], "", unclosed=True) if cut else None
    reasoning, _, content = text[heading.end() :].rpartition(BARE_FINAL)
    return _put_together([reasoning], content)


def _unwrapped(text: str) -> str:
    """Take off what marks the answer as such; only ever after reasoning."""
    opening = ANSWER.match(text)
    return ANSWER_END.sub("", text[opening.end() :]) if opening else text


def _put_together(thoughts: Iterable[str], content: str, unclosed: bool = False) -> Separated:
    kept = [thought.strip() for thought in thoughts]
    return Separated(content.lstrip(), "\n\n".join(filter(None, kept)), unclosed)
