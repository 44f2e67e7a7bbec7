"""The form of calls that a template tells a model to write, but does not write itself.

Some templates show the tools with an example of a call, and leave earlier calls to whoever puts
them into the text of a message. What stands around the example is the form.
"""

from __future__ import annotations

import json
import re

from ste_ray.chat_tokens.call_forms.probes import (
    IDS,
    NAMES,
    PROOFS,
    RENDERING_ERRORS,
    REQUEST,
    SCHEMAS,
    TEXT,
    TOOLS,
    Render,
    asked,
)
from ste_ray.core.native_calls.form import CallForm, WrittenCall
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.native_calls.writing import write_calls

_TAG = r"<[^<>\s]{1,40}>"
_STANDS_FOR = r"(?:<[^<>\n]{1,60}>|\{[^{}\n]{0,120}\}|\"[^\"\n]{1,60}\"|\.\.\.)"
_EXAMPLE = re.compile(
    rf"(?P<opening>{_TAG}\s{{0,4}}\[?)"
    rf"\{{\s?\"(?P<name>name|function)\"\s?:\s?{_STANDS_FOR},\s?"
    rf"\"(?P<arguments>arguments|parameters)\"\s?:\s?{_STANDS_FOR}\s?\}}"
    rf"(?P<closing>\]?\s{{0,4}}{_TAG})"
)


def described_form(render: Render) -> CallForm | None:
    """Return the form that a template describes, proven; None: it describes none."""
    for tools in TOOLS:
        try:
            text = render(asked(), tools, True)
            turn = render(asked({"role": "assistant", "content": TEXT}), tools, False)
        except RENDERING_ERRORS:
            continue
        found = _EXAMPLE.search(text.rpartition(REQUEST)[0])
        if found is None:
            return None
        form = _form(found, turn.rpartition(TEXT)[2])
        return form if _proven(form, render) else None
    return None


def _form(found: re.Match[str], end_of_turn: str) -> CallForm:
    opening, closing = found["opening"], found["closing"]
    in_list = opening.endswith("[") and closing.startswith("]")
    return CallForm(
        opening=opening,
        between=", " if in_list else f"{closing}\n{opening}",
        closing=closing,
        end_of_turn=end_of_turn,
        slots=("name", "arguments"),
        gaps=(f'{{"{found["name"]}": "', f'", "{found["arguments"]}": ', "}"),
        is_object=True,
        name_path=(found["name"],),
        arguments_path=(found["arguments"],),
    )


def _proven(form: CallForm, render: Render) -> bool:
    """Whether calls that stand in the text of a message are written as they are, and read back."""
    for arguments in PROOFS:
        written = json.dumps(arguments, ensure_ascii=False)
        calls = tuple(
            WrittenCall(name=name, arguments_text=written, id=one)
            for name, one in zip(NAMES, IDS, strict=True)
        )
        text = write_calls(calls, form)
        try:
            turn = render(asked({"role": "assistant", "content": text}), TOOLS[-1], False)
        except RENDERING_ERRORS:
            return False
        reply = read_reply(text, form, SCHEMAS)
        bare = tuple(one.model_copy(update={"id": ""}) for one in calls)
        if text not in turn or reply.problem or reply.calls != bare:
            return False
    return True
