"""How a chat template writes calls of tools: what stands around them, and how one is laid out.

A form is data. It is derived from a template by ``ste_ray.chat_tokens.call_forms``, which knows no
model by name; ``reading`` reads replies by it, ``writing`` writes calls, ``grammar`` cuts it into
the pieces of a grammar.

Everything that is written is one of these, in a row::

    opening  call  (between  call)*  closing  end_of_turn

and a call is ``gaps[0] slot gaps[1] slot … gaps[-1]``. So nothing needs to be said of sections,
separators or brackets: they are part of the texts in between.
"""

from __future__ import annotations

import re
from typing import Literal

from ste_ray.core.records import Record

#: What differs from call to call. ``index`` counts the calls of a reply.
Slot = Literal["name", "id", "index", "arguments"]
ValueType = Literal["string", "number", "boolean", "null", "object", "array"]

_MARKER = re.compile(r"<[^<>\s]{1,80}>|\[/?[A-Z_]{2,40}\]")


class Elements(Record):
    """Arguments as one element each.

    ``first key after_key value (next key after_key value)* last``, or ``none``.

    Texts are written as they are, so a text that holds what ends its element cannot be told from
    the end.

    Attributes:
        none: what stands there instead where there are no arguments.
        after_key: what stands between key and value, by the type of the value.
        python: whether other values than texts are written as Python does (``True``, ``None``).
        literal: whether texts are written as Python does too, in quotes.
    """

    first: str
    after_key: dict[ValueType, str]
    next: str
    last: str
    none: str
    python: bool
    literal: bool = False


class CallForm(Record):
    """How one template writes calls.

    Attributes:
        opening: what stands before the first call; it may begin with the head of a message.
        started: the part of ``opening`` that a prompt ends with, so that replies begin behind it.
        between: what stands between two calls; of no use unless ``parallel``.
        closing: what stands behind the last call.
        end_of_turn: what ends a message of the assistant; empty: it differs.
        parallel: whether several calls of one reply are written.
        slots: what a call holds, in order. A name may stand there twice.
        gaps: the texts before, between and behind the slots.
        is_object: whether a call is a JSON object, so that it is read as JSON: in any order of keys
            and with any white space.
        name_path: the keys that lead to the name in that object; empty: the name is the key, and
            the arguments are its value.
        arguments_path: the keys that lead to the arguments.
        id_path: the keys that lead to the id; empty: calls have none there.
        arguments: ``json``: an object; ``json_text``: one in a JSON string; ``loose``: an object
            with bare keys, whose texts stand between ``quote``; ``elements``: one element each.
        quote: what stands before and behind a text in loose arguments.
        elements: how elements are written.
        keeps_text: whether the template writes the text of a message that calls too, before them.
        first_index: with which number it begins to count calls.
    """

    opening: str
    started: str = ""
    between: str = ""
    closing: str
    end_of_turn: str = ""
    parallel: bool = True
    slots: tuple[Slot, ...]
    gaps: tuple[str, ...]
    is_object: bool
    name_path: tuple[str, ...] = ()
    arguments_path: tuple[str, ...] = ()
    id_path: tuple[str, ...] = ()
    arguments: Literal["json", "json_text", "loose", "elements"] = "json"
    quote: str = ""
    elements: Elements | None = None
    keeps_text: bool = True
    first_index: int = 0

    @property
    def is_bare(self) -> bool:
        """Whether nothing but the call itself tells a call from a text."""
        return not any(char.isalnum() for char in self.opening[len(self.started) :])

    @property
    def after_calls(self) -> str:
        """What stands behind every call, whether another one follows or not."""
        shared = 0
        for one, other in zip(self.between, self.closing, strict=False):
            if one != other:
                break
            shared += 1
        return self.closing[:shared]

    @property
    def end_mark(self) -> str:
        """The first marker of what ends a message; empty: it differs."""
        text = self.end_of_turn.strip()
        found = _MARKER.match(text)
        return found[0] if found else text

    def texts(self) -> tuple[str, ...]:
        """Return all that the form writes itself, for finding the tokens that must be kept."""
        found = [self.opening, self.between, self.closing, self.end_of_turn, self.quote, *self.gaps]
        if self.elements:
            more = self.elements
            found += [more.first, more.next, more.last, more.none, *more.after_key.values()]
        return tuple(dict.fromkeys(text for text in found if text))


class WrittenCall(Record):
    """A call as it stands in a reply.

    Attributes:
        name: of the tool, as it was written.
        arguments_text: the arguments as JSON text. Where the form writes JSON, exactly what was
            written, whatever it is; else the JSON of what was read.
        id: as it was written; empty: none.
    """

    name: str
    arguments_text: str
    id: str = ""


class NativeReply(Record):
    """A reply, read.

    Attributes:
        content: the text before the calls, or all of it where there are none.
        calls: in order. Those before the place of a problem are there too.
        problem: what was wrong with the call that could not be read; empty: nothing.
        after: text behind the calls.
        reasoning: what the model wrote before its answer.
        unclosed: whether the reply ended within the reasoning.
    """

    content: str
    calls: tuple[WrittenCall, ...] = ()
    problem: str = ""
    after: str = ""
    reasoning: str = ""
    unclosed: bool = False
