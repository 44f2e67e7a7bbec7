"""Derives from a chat template how it writes calls, without knowing any by name.

Conversations with marked calls are rendered; what stands around the marks is the form, which is
then proven by reading back what the template writes. The idea, to compare renderings, is that of
llama.cpp's automatic parser.
"""

from __future__ import annotations

from typing import Any

from ste_ray.chat_tokens.call_forms.layouts import MAKERS
from ste_ray.chat_tokens.call_forms.probes import RENDERING_ERRORS, TOOLS, Given, Render, asked
from ste_ray.chat_tokens.call_forms.proving import prove
from ste_ray.chat_tokens.call_forms.turns import FormError, Outline, Turns, outline
from ste_ray.core.native_calls.form import CallForm


def derive(render: Render) -> tuple[CallForm, Given]:
    """Return the form, and how the template wants messages that call.

    Raises:
        FormError: no form could be proven.
    """
    problems: list[str] = []
    proofs: list[str] = []
    seen = _outlines(render, problems)
    for turns, found in seen:
        for make in MAKERS:
            try:
                form = make(turns, found)
            except FormError as error:
                problems.append(str(error))
                continue
            try:
                if form is not None:
                    prove(form, turns)
                    return form, turns.given
            except FormError as error:
                proofs.append(str(error))
    # What a form failed at says more than that a template failed.
    raise FormError([*proofs, *problems, "no layout was found around a marked call"][0])


def _outlines(render: Render, problems: list[str]) -> list[tuple[Turns, Outline]]:
    """Return marked calls, given in each way in which the template writes them.

    Null contents come last: a template that looks for them alone writes nothing of the others.
    """
    tools = _tools(render)
    found = []
    ways = [Given(as_text, null) for null in (False, True) for as_text in (False, True)]
    for given in ways:
        turns = Turns(render, given, tools)
        try:
            found.append((turns, outline(turns)))
        except FormError as error:
            problems.append(str(error))
    return found


def _tools(render: Render) -> tuple[dict[str, Any], ...]:
    """Return the richest tools of the probes that a template can write."""
    for tools in TOOLS[:-1]:
        try:
            render(asked(), tools, True)
        except RENDERING_ERRORS:
            continue
        return tools
    return TOOLS[-1]
