"""Takes off what a model reasons before it answers, whatever form it writes that in.

Reasoning models put their thoughts in front of the answer: as ``<think>…</think>`` and its kin, as
channels of the harmony format, under headings, or as text that a closing tag ends whose opening one
stood in the prompt. What is taken off is the *beginning* of a text: a tag that an answer mentions
further on, in an argument for example, is part of the answer. Texts without reasoning are returned
as they are, to the letter. All regular expressions here run in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from ste_ray.core.replies.markers import find_markers, marker_at_start


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


_NAMES = (
    r"(?:(?!start_|begin_|end_)[a-z]{1,16}[_-]|ant|inner|internal)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|monologue)"
    r"(?:[_-](?:process|steps?|traces?|blocks?|content|text|tags?|\d{1,4}))?"
    r"|(?:self[_-])?reflect(?:ion)?|analysis|scratch_?pad|deliberation|rationale"
    r"|chain[_-]?of[_-]?thoughts?|cot"
)
# ``<think>``, ``<seed:think>``, ``<thinking lang="en">``, ``<|think|>``, ``[THINK]``, ``◁think▷``
_OPEN = re.compile(
    rf"<[|｜]?[ ]?(?:[a-z]\w{{0,20}}:)?(?P<xml>{_NAMES})(?:[ \t][^<>\n]{{0,80}})?[|｜]?>"
    r"|\[(?P<square>THINK(?:ING)?)\]"
    rf"|◁(?P<triangle>{_NAMES})▷"
    rf"|(?P<begin><\|(?:(?:start|begin)_(?:of_)?(?:{_NAMES})|(?:{_NAMES})_(?:start|begin))\|>)"
    r"|<(?P<details>details)(?:[ \t]+type=[\"']reasoning[\"'][^<>\n]{0,80}>"
    r"|[^<>\n]{0,80}>\s{0,4}<summary>[^<>\n]{0,40}(?:think|thought|reason)[^<>\n]{0,40}</summary>)"
    r"|(?P<turned><\|channel>(?:(?:thought|analysis)\b)?)",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"<(?:/[|｜]?|[|｜]/)[ ]?(?:[a-z]\w{{0,20}}:)?(?P<xml>{_NAMES})[ ]?[|｜]?>"
    r"|\[/(?P<square>THINK(?:ING)?)\]"
    rf"|◁/(?P<triangle>{_NAMES})▷"
    rf"|(?P<begin><\|(?:end_(?:of_)?(?:{_NAMES})|(?:{_NAMES})_end)\|>)"
    r"|</(?P<details>details)>"
    r"|<(?P<turned>channel)\|>",
    re.IGNORECASE,
)
# What some models put around the answer once they have reasoned.
_ANSWER = re.compile(
    r"\s*(?:<(?P<tag>answer|response|output|final|final_answer|solution)>"
    r"|<\|(?:START_|begin_of_)(?P<begin>RESPONSE|solution|answer)\|>"
    r"|\[BEGIN FINAL RESPONSE\])",
    re.IGNORECASE,
)
_ANSWER_END = re.compile(
    r"(?:</(?:answer|response|output|final|final_answer|solution)>"
    r"|<\|(?:END_|end_of_)(?:RESPONSE|solution|answer)\|>|\[END FINAL RESPONSE\])\s*\Z",
    re.IGNORECASE,
)
# What stands at the beginning of reasoning and at its end where neither is a tag: headings, as
# Granite, Apriel and medical models write them; reserved tokens; turns and code of that name.
_HEADED = re.compile(
    r"Here(?: is|'s) my (?:thought process|reasoning)[ \t]*:"
    r"|Here are my (?:thoughts|reasoning steps)[ \t]*:",
    re.IGNORECASE,
)
_HEADED_END = re.compile(
    r"^[ \t]*Here(?: is|'s) my (?:response|answer)[ \t]*:|\[BEGIN FINAL RESPONSE\]",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING = re.compile(
    r"(?:#{1,4} |\*\*)(?:thinking|thought process|reasoning|chain of thought)(?: process)?"
    r":?(?:\*\*)?:?[ \t]*\n",
    re.IGNORECASE,
)
_HEADING_END = re.compile(
    r"^(?:#{1,4} |\*\*)(?:(?:final )?(?:response|output)|answer|reply):?(?:\*\*)?:?[ \t]*\n",
    re.IGNORECASE | re.MULTILINE,
)
_RESERVED = re.compile(r"[<\[]unused\d{1,4}[>\]](?:thought\b)?", re.IGNORECASE)
_RESERVED_END = re.compile(r"[<\[]unused\d{1,4}[>\]]", re.IGNORECASE)
_TURN = re.compile(r"<\|im_start\|>think\b")
_TURN_END = re.compile(r"(?:<\|im_end\|>\s*)?<\|im_start\|>answer\b")
_CODE = re.compile(r"```[ \t]*(?:think(?:ing)?|thoughts?|reasoning)[ \t]*\n", re.IGNORECASE)
_CODE_END = re.compile(r"^```[ \t]*(?:\n|\Z)", re.MULTILINE)
# The last of each says whether the first means reasoning also where the second is missing.
_FRAMES = (
    (_HEADED, _HEADED_END, False),  # a sentence like any other
    (_HEADING, _HEADING_END, False),
    (_RESERVED, _RESERVED_END, True),
    (_TURN, _TURN_END, True),
    (_CODE, _CODE_END, True),
)
# The harmony format, whole or as it is left where special tokens were dropped.
_HARMONY = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>", re.IGNORECASE)
_CHANNEL = re.compile(
    r"<\|channel\|>(?P<head>[^<]{0,200}+)(?:<\|constrain\|>[^<]{0,200}+)?<\|message\|>"
    r"(?P<body>(?:[^<]++|<(?!\|(?:end|return|call|start|channel)\|>))*+)"
)
_BARE_HARMONY = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)(?=(?P<glued>[A-Z])?)")
_BARE_FINAL = "assistantfinal"
_QUOTES = "`\"'“”‘’"
# What may stand before the first tag: also marks of encodings, what begins a turn where a server
# shows its special tokens, and whose turn it is.
_BLANK = re.compile(
    r"(?:[\s\ufeff\u200b-\u200d\u2060]|<s>|<\|(?:im_start|begin_of_text|startoftext)\|>(?!think)"
    r"|assistant:?(?=\s{0,4}<))++",
    re.IGNORECASE,
)
# Bounds on the work that a text can make; no reply of a model comes near.
_MAX_BLOCKS = 32
_MAX_TAGS = 200
_LINE_CHARS = 4000

_SPECIAL = re.compile(r"<\|(?:start|channel|message|end|return|call|constrain)\|>")


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
    return any(match.end() == len(tail) for match in _OPEN.finditer(tail))


def reasoning_tokens(tokens: Iterable[str]) -> frozenset[str]:
    """Return those of a tokenizer's tokens that tell reasoning from the answer.

    They must stay in what is decoded, although a tokenizer may count them as special.
    """
    given = frozenset(tokens)
    found = {token for token in given if _OPEN.fullmatch(token) or _CLOSE.fullmatch(token)}
    if "<|channel|>" in given:
        found |= {token for token in given if _SPECIAL.fullmatch(token)}
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
    blank = _BLANK.match(text, place)
    return _OPEN.match(text, blank.end() if blank else place)


def _closing(text: str, opening: re.Match[str]) -> re.Match[str] | None:
    """Return the tag that closes a block: the one at which its own tags are in balance.

    Where they never are, because the reasoning speaks of such a tag, it is the last one; where none
    has the same name, the first of any name in the same brackets. Quoted tags do not count.
    """
    name, depth = _name(opening), 1
    other: re.Match[str] | None = None
    last: re.Match[str] | None = None
    for tag in _tags(text, opening.end()):
        closes = tag.re is _CLOSE
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
        *islice(_OPEN.finditer(text, place), _MAX_TAGS),
        *islice(_CLOSE.finditer(text, place), _MAX_TAGS),
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
    for tag in _tags(text, place) if _CLOSE.search(text, place) else ():
        if tag.re is _OPEN:
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
    if before and after and before in _QUOTES and after in _QUOTES:
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
    first = _OPEN.search(text)
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
    blank = _BLANK.match(text)
    place = blank.end() if blank else 0
    for opening, closing, is_certain in _FRAMES:
        start = opening.match(text, place)
        end = closing.search(text, start.end()) if start else None
        if start and end:
            content = _ANSWER_END.sub("", text[end.end() :])
            return _put_together([text[start.end() : end.start()]], content)
        if start and is_certain:
            return _put_together([text[start.end() :]], "", unclosed=True)
    return None


def _harmony(text: str) -> Separated | None:
    """Read the channels of the harmony format: ``final`` is the answer, all else is reasoning."""
    if _HARMONY.match(text):
        thoughts: list[str] = []
        final: list[str] = []
        for match in _CHANNEL.finditer(text):
            place = final if match["head"].strip().lower().startswith("final") else thoughts
            place.append(match["body"])
        return _put_together(thoughts, "\n".join(final).lstrip(), unclosed=not final)
    heading = _BARE_HARMONY.match(text)
    if heading is None:
        return None
    if _BARE_FINAL not in text:
        # No word is written so; the reply was cut before its answer.
        cut = heading["glued"] is not None
        return _put_together([text[heading.end() :]], "", unclosed=True) if cut else None
    reasoning, _, content = text[heading.end() :].rpartition(_BARE_FINAL)
    return _put_together([reasoning], content)


def _unwrapped(text: str) -> str:
    """Take off what marks the answer as such; only ever after reasoning."""
    opening = _ANSWER.match(text)
    return _ANSWER_END.sub("", text[opening.end() :]) if opening else text


def _put_together(thoughts: Iterable[str], content: str, unclosed: bool = False) -> Separated:
    kept = [thought.strip() for thought in thoughts]
    return Separated(content.lstrip(), "\n\n".join(filter(None, kept)), unclosed)
