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
    OTHER_IDS,
    PLAINLY,
    RENDERING_ERRORS,
    RESULT,
    TOOLS,
    Given,
    Render,
    answered,
    asked,
)
from ste_ray.chat_tokens.call_forms.turns import FormError, Turns
from ste_ray.chat_tokens.native.shown_tools import (
    in_first_message,
    shows_tools,
    under_other_names,
)
from ste_ray.core.native_calls.form import CallForm
from ste_ray.core.records import Record
from ste_ray.core.replies.reasoning import without_opening
from ste_ray.errors import NoToolsError, ToolTemplateError


class TemplateTools(Record):
    """What a chat template does with tools.

    Attributes:
        template: by which conversations with tools are written: the one that was asked for, or, if
            that does not show the tools that it is given, one that lets it.
        form: how calls are written.
        source: whether the template writes calls itself, or only tells the model how to.
        arguments: how it takes the arguments of calls.
        null_content: whether it takes a message for one that calls only where its content is null.
        ids: which ids of calls it takes.
        system: whether it takes a system message.
        results: whether it writes what a tool returned.
        begins: what stands before a message of the assistant, behind a request or a result.
    """

    template: str
    form: CallForm
    source: Literal["written", "described"]
    arguments: Literal["object", "text"]
    null_content: bool
    ids: Literal["any", "nine letters or digits"]
    system: bool
    results: bool
    begins: tuple[str, ...]

    @property
    def given(self) -> Given:
        """How it takes messages that call."""
        return Given(self.arguments == "text", self.null_content)


_Refusal = tuple[Literal["none", "unreadable"], str]


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


def renderer(tokenizer: Any, template: str, options: Mapping[str, Any] | None = None) -> Render:
    """Return what renders messages with tools by a template for a tokenizer.

    Contents that are null stay so: the tokenizer's own method leaves them out, and some templates
    write calls beside them alone.

    Args:
        tokenizer: of transformers.
        template: a chat template.
        options: variables of the template.
    """
    return plain_renderer(template, {**special_tokens(tokenizer), **(options or {})})


def special_tokens(tokenizer: Any) -> dict[str, str]:
    """Return the special tokens that a template can write by their names, such as ``bos_token``."""
    found = tokenizer.special_tokens_map
    return {name: str(text) for name, text in found.items() if isinstance(text, str)}


@lru_cache(maxsize=32)
def _learnt(template: str, special: tuple[tuple[str, str], ...]) -> TemplateTools | _Refusal:
    """Return what a template does with tools, or why it cannot be told."""
    tokens = dict(special)
    if shows_tools(plain_renderer(template, tokens)):
        return _read(template, tokens)
    for text in under_other_names(template):
        if shows_tools(plain_renderer(text, tokens)):
            found = _read(text, tokens)
            if isinstance(found, TemplateTools):
                return found
    found = _read(template, tokens)
    if not isinstance(found, TemplateTools):
        return found
    text = in_first_message(template, found.form, found.system)
    told = _read(text, tokens)
    if isinstance(told, TemplateTools) and told.form == found.form:
        return told
    return "unreadable", (
        f"{_called(template)} writes calls and shows no tools, and they cannot be told in its first"
        " message; give the tokenizer a template that shows them"
    )


def _read(template: str, special: Mapping[str, str]) -> TemplateTools | _Refusal:
    render = plain_renderer(template, special)
    try:
        form, given = derive(render)
        source: Literal["written", "described"] = "written"
    except FormError as error:
        if not shows_tools(render):
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
        form, given, source = described, PLAINLY, "described"
    return TemplateTools(
        template=template,
        form=form,
        source=source,
        arguments="text" if given.as_text else "object",
        null_content=given.null,
        ids=_ids(render, given),
        system=_takes_system(render),
        results=RESULT in (_with_result(render, IDS[0], given) or ""),
        begins=_begins(render, given),
    )


def plain_renderer(template: str, variables: Mapping[str, Any]) -> Render:
    """Return what renders by a template with these variables, such as special tokens.

    Rendering needs no more of a tokenizer, so a template is learnt once for all that have it.
    """

    def render(messages: Any, tools: Any, add_generation_prompt: bool) -> str:
        (text,), _ = render_jinja_template(
            [list(messages)],
            tools=list(tools) if tools else None,
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            **variables,
        )
        return str(text)

    return render


def _called(template: str) -> str:
    first = " ".join(template.split())[:60]
    return f"the chat template that begins {first!r} ({len(template)} characters)"


def _ids(render: Render, given: Given) -> Literal["any", "nine letters or digits"]:
    """Return which ids a template takes: the short ones are taken by all that take any."""
    takes_any = all(_with_result(render, one, given) is not None for one in OTHER_IDS)
    takes_nine = _with_result(render, IDS[0], given) is not None
    return "nine letters or digits" if takes_nine and not takes_any else "any"


def _with_result(render: Render, identity: str, given: Given) -> str | None:
    """Return what is written for a call with this id and its result; None: it is refused."""
    try:
        return render(answered(identity, given), TOOLS[-1], True)
    except RENDERING_ERRORS:
        return None


def _begins(render: Render, given: Given) -> tuple[str, ...]:
    turns = Turns(render, given, TOOLS[-1])
    found = without_opening(turns.prompt.removeprefix(turns.request_end)).lstrip()
    first = found or _last_piece(turns.request_end)
    behind = (_with_result(render, IDS[0], given) or "").rpartition(RESULT)[2]
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
