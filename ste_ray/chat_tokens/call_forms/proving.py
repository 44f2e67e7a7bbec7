"""Proves a form: what the template writes is read back, and so is what the form writes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from ste_ray.chat_tokens.call_forms.probes import IDS, NAMES, PROOFS, SCHEMAS, TEXT
from ste_ray.chat_tokens.call_forms.turns import FormError, Turns
from ste_ray.core.native_calls.form import CallForm, NativeReply, WrittenCall
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.native_calls.writing import write_calls
from ste_ray.core.replies.strict_json import clip

_Calls = list[tuple[str, Any]]


def prove(form: CallForm, turns: Turns) -> None:
    """Check a form on conversations that hold what texts can hold.

    Raises:
        FormError: something is not read as it was given.
    """
    for arguments in PROOFS:
        _same(form, turns.reply(turns.one(arguments)), [(NAMES[0], arguments)])
        _written(form, [(NAMES[0], arguments)])
    if form.parallel:
        for first, second in pairwise(PROOFS):
            wanted = [(NAMES[0], first), (NAMES[1], second)]
            _same(form, turns.reply(turns.two(first, second)), wanted)
            _written(form, wanted)
    if form.keeps_text:
        text = turns.reply(turns.one(PROOFS[1], text=TEXT))
        _same(form, text, [(NAMES[0], PROOFS[1])], TEXT)
    plain = turns.reply(turns.behind_request({"role": "assistant", "content": TEXT}))
    _same(form, plain, [], TEXT)


def _written(form: CallForm, wanted: _Calls) -> None:
    calls = [
        WrittenCall(name=name, arguments_text=json.dumps(given, ensure_ascii=False), id=identity)
        for (name, given), identity in zip(wanted, IDS, strict=False)
    ]
    text = write_calls(calls, form)
    _same(form, text[len(form.started) :], wanted)


def _same(form: CallForm, text: str, wanted: _Calls, words: str = "") -> None:
    reply = read_reply(text, form, SCHEMAS)
    if reply.problem:
        raise FormError(f"{clip(text.strip(), 160)} is not read: {reply.problem}")
    got = _calls(reply)
    if got != wanted:
        raise FormError(f"{clip(text.strip(), 160)} is read as {clip(repr(got), 160)}")
    content = reply.content or (reply.reasoning if wanted else "")
    if words not in content:
        raise FormError(f"{clip(text.strip(), 160)} loses its text, {clip(reply.content)} is left")


def _calls(reply: NativeReply) -> _Calls:
    found = []
    for one in reply.calls:
        try:
            found.append((one.name, json.loads(one.arguments_text)))
        except ValueError:
            found.append((one.name, one.arguments_text))
    return found
