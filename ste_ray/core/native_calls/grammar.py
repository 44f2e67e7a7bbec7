"""Cuts a form into the pieces of a grammar, and says where a reply in it ends.

A grammar of replies that are one call of one of some tools is an alternative of what
``reply_pieces`` returns for each: fixed texts, and between them arguments that fit a JSON Schema.
"""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

from ste_ray.core.native_calls.form import CallForm

#: What may stand in the place of an id, as a regular expression.
ID_PATTERN = "[a-zA-Z0-9]{9}"


class Piece(NamedTuple):
    """A part of a grammar.

    Attributes:
        kind: a fixed text, an id (``ID_PATTERN``), or a JSON object that fits the tool's schema.
        text: the fixed text.
    """

    kind: Literal["text", "id", "arguments"]
    text: str = ""


def reply_pieces(form: CallForm, name: str) -> tuple[Piece, ...] | None:
    """Return what a reply that is one call of a tool consists of, behind the prompt.

    Args:
        form: of the calls.
        name: of the tool, as it is called here.

    Returns:
        The pieces, fixed texts joined; None: the form writes arguments otherwise than as JSON.
    """
    if form.arguments != "json":
        return None
    written = json.dumps(name, ensure_ascii=False)[1:-1] if form.is_object else name
    found = [Piece("text", form.opening[len(form.started) :] + form.gaps[0])]
    for slot, gap in zip(form.slots, form.gaps[1:], strict=True):
        if slot in ("id", "arguments"):
            found.append(Piece("id" if slot == "id" else "arguments"))
        else:
            found.append(Piece("text", written if slot == "name" else str(form.first_index)))
        found.append(Piece("text", gap))
    found.append(Piece("text", form.closing))
    return _joined(found)


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    found: list[Piece] = []
    for piece in pieces:
        if found and piece.kind == found[-1].kind == "text":
            found[-1] = Piece("text", found[-1].text + piece.text)
        elif piece != Piece("text"):
            found.append(piece)
    return tuple(found)


def stop_texts(form: CallForm) -> tuple[str, ...]:
    """Return the texts at which a reply has ended, wherever they stand.

    Special tokens write them, so look for them as tokens where that is possible: an argument may
    hold the same text.
    """
    rest = form.closing[len(form.after_calls) :] if form.parallel else form.closing
    found = [form.end_mark, rest.strip()]
    return tuple(text for text in found if any(char.isalnum() for char in text))
