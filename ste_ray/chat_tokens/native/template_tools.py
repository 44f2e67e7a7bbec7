"""What a chat template does with tools: how it writes calls, results and ids; learnt once.

``tools_of`` is the door: everything else about native calls builds upon what it returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from transformers.utils.chat_template_utils import render_jinja_template

from ste_ray.chat_tokens.call_forms.deriving import derive
from ste_ray.chat_tokens.call_forms.described import described_form
from ste_ray.chat_tokens.call_forms.differences import pieces
from ste_ray.chat_tokens.call_forms.probes import (
    IDS,
    NAMES,
    OTHER_IDS,
    RENDERING_ERRORS,
    RESULT,
    TOOLS,
    Render,
    answered,
    asked,
)
from ste_ray.chat_tokens.call_forms.turns import FormError, Turns
from ste_ray.core.native_calls.form import CallForm
from ste_ray.core.records import Record
from ste_ray.core.replies.reasoning import without_opening
from ste_ray.errors import NoToolsError, ToolTemplateError


class TemplateTools(Record):
    """What a chat template does with tools.

    Attributes:
        form: how calls are written.
        source: whether the template writes calls itself, or only tells the model how to.
        arguments: how it takes the arguments of calls.
        ids: which ids of calls it takes.
        system: whether it takes a system message.
        results: whether it writes what a tool returned.
        begins: what stands before a message of the assistant, behind a request or a result.
    """

    form: CallForm
    source: Literal["written", "described"]
    arguments: Literal["object", "text"]
    ids: Literal["any", "nine letters or digits"]
    system: bool
    results: bool
    begins: tuple[str, ...]


def tools_of(tokenizer: Any, template: str | None = None) -> TemplateTools:
    """Return what a tokenizer's chat template does with tools.

    Args:
        tokenizer: of transformers.
        template: another chat template; None: its own.

    Raises:
        NoToolsError: the template knows no tools.
        ToolTemplateError: it does, but how it writes calls cannot be told.
    """
    text = template or named_template(tokenizer)
    if text is None:
        raise NoToolsError("the tokenizer has no chat template; give it one that knows tools")
    found = _learnt(text, tuple(sorted(special_tokens(tokenizer).items())))
    if isinstance(found, TemplateTools):
        return found
    kind, message = found
    raise (NoToolsError if kind == "none" else ToolTemplateError)(message)


def named_template(tokenizer: Any) -> str | None:
    """Return the template that is used where tools are given; None: there is none."""
    if not tokenizer.chat_template:
        return None
    text: str = tokenizer.get_chat_template(tools=list(TOOLS[-1]))
    return text


def renderer(
    tokenizer: Any, template: str | None = None, options: Mapping[str, Any] | None = None
) -> Render:
    """Return what renders messages with tools by a tokenizer's template, or another one.

    Args:
        tokenizer: of transformers.
        template: another chat template; None: its own.
        options: variables of the template.
    """

    def render(messages: Any, tools: Any, add_generation_prompt: bool) -> str:
        text = tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) if tools else None,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **(options or {}),
        )
        return str(text)

    return render


def special_tokens(tokenizer: Any) -> dict[str, str]:
    """Return the special tokens that a template can write by their names, such as ``bos_token``."""
    found = tokenizer.special_tokens_map
    return {name: str(text) for name, text in found.items() if isinstance(text, str)}


@lru_cache(maxsize=32)
def _learnt(
    template: str, special: tuple[tuple[str, str], ...]
) -> TemplateTools | tuple[Literal["none", "unreadable"], str]:
    """Return what a template does with tools, or why it cannot be told."""
    render = plain_renderer(template, dict(special))
    try:
        form, as_text = derive(render)
        source: Literal["written", "described"] = "written"
    except FormError as error:
        if not _shows_tools(render):
            return "none", (
                f"{_called(template)} knows no tools: it writes neither them nor calls ({error});"
                " give the tokenizer a template that does, or train with one"
            )
        described = described_form(render)
        if described is None:
            return "unreadable", (
                f"{_called(template)} shows tools, but how it writes calls cannot be told; a call"
                f" was rendered and read back: {error}"
            )
        form, as_text, source = described, False, "described"
    return TemplateTools(
        form=form,
        source=source,
        arguments="text" if as_text else "object",
        ids=_ids(render, as_text),
        system=_takes_system(render),
        results=RESULT in (_with_result(render, IDS[0], as_text) or ""),
        begins=_begins(render, as_text),
    )


def plain_renderer(template: str, special: Mapping[str, str]) -> Render:
    """Return what renders by a template for a tokenizer with these special tokens.

    Rendering needs no more of a tokenizer, so a template is learnt once for all that have it.
    """

    def render(messages: Any, tools: Any, add_generation_prompt: bool) -> str:
        (text,), _ = render_jinja_template(
            [list(messages)],
            tools=list(tools) if tools else None,
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            **special,
        )
        return str(text)

    return render


def _called(template: str) -> str:
    first = " ".join(template.split())[:60]
    return f"the chat template that begins {first!r} ({len(template)} characters)"


def _shows_tools(render: Render) -> bool:
    for tools in TOOLS:
        try:
            if NAMES[0] in render(asked(), tools, True):
                return True
        except RENDERING_ERRORS:
            continue
    return False


def _ids(render: Render, as_text: bool) -> Literal["any", "nine letters or digits"]:
    """Return which ids a template takes: the short ones are taken by all that take any."""
    takes_any = all(_with_result(render, one, as_text) is not None for one in OTHER_IDS)
    takes_nine = _with_result(render, IDS[0], as_text) is not None
    return "nine letters or digits" if takes_nine and not takes_any else "any"


def _with_result(render: Render, identity: str, as_text: bool) -> str | None:
    """Return what is written for a call with this id and its result; None: it is refused."""
    try:
        return render(answered(identity, as_text=as_text), TOOLS[-1], True)
    except RENDERING_ERRORS:
        return None


def _begins(render: Render, as_text: bool) -> tuple[str, ...]:
    turns = Turns(render, False, TOOLS[-1])
    found = without_opening(turns.prompt.removeprefix(turns.request_end)).lstrip()
    first = found or _last_piece(turns.request_end)
    behind = (_with_result(render, IDS[0], as_text) or "").rpartition(RESULT)[2]
    if first in behind or not behind.strip():
        return (first,)
    return (first, _last_piece(without_opening(behind)))


def _last_piece(text: str) -> str:
    return "".join(pieces(text.strip())[-1:])


def _takes_system(render: Render) -> bool:
    system = {"role": "system", "content": RESULT}
    try:
        return RESULT in render([system, *asked()], None, True)
    except RENDERING_ERRORS:
        return False
