r"""A chat template of our own, for a base model whose template knows no tools.

It keeps the base's way of marking turns, found by rendering, and writes tools and calls in the form
of the Hermes models (``core.native_calls.hermes``), which servers of models read without being told
more. What tools returned stands in a turn of the user. Without tools it writes what the base's
template writes, on every day: where that writes the date, so does it.

Beside tools and in results, contents that look like its own marks get a visible backslash,
``</tool_response>`` → ``<\/tool_response>``: no result ends its block. ``NativeChat`` writes the
same, so what a server renders is what was trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.chat_tokens.call_forms.deriving import derive
from ste_ray.chat_tokens.call_forms.differences import shared_start
from ste_ray.chat_tokens.call_forms.probes import RENDERING_ERRORS
from ste_ray.chat_tokens.call_forms.turns import FormError
from ste_ray.chat_tokens.encoding import written_markers
from ste_ray.chat_tokens.native.shown_tools import jinja_text
from ste_ray.chat_tokens.native.template_tools import renderer
from ste_ray.chat_tokens.rendering import INST_TEMPLATE
from ste_ray.chat_tokens.structure import structure_tokens
from ste_ray.core.native_calls import hermes
from ste_ray.errors import ToolTemplateError

_SYSTEM, _FIRST, _SECOND = "zq system", "zq first", "zq second"
_ANSWER = "zq answer"
_Messages = Sequence[Mapping[str, Any]]
_Write = Callable[[_Messages, bool], str]

# Stands before a template, so that what it writes of the date is this. A line break behind a block
# is not rendered.
_DATED = "{%- macro strftime_now(format) -%}DAY{{ format }}YAD{%- endmacro %}\n"
_DATE = re.compile(r"zqday\[(.*?)\]zqday", re.DOTALL)

# Words in capitals are replaced by what the base writes there, as Jinja texts.
_TEMPLATE = """\
{%- macro plain(content, backslash) -%}
{%- set kept = namespace(text=content) -%}
{%- for mark in MARKS -%}
{%- set kept.text = kept.text.replace(mark, mark[0] + backslash + mark[1:]) -%}
{%- endfor -%}
{{- kept.text -}}
{%- endmacro -%}
{%- set given = messages[0].content if messages[0].role == 'system' else '' -%}
{%- if tools -%}
{{- SYSTEM_OPENS -}}
{%- if given -%}{{- plain(given, BACKSLASH) + SPACE -}}{%- endif -%}
{{- INSTRUCTION -}}
{%- for tool in tools -%}
{{- NEWLINE + plain(tool | tojson, BACKSLASH + BACKSLASH) -}}
{%- endfor -%}
{{- HOW_TO_CALL + SYSTEM_ENDS -}}
{%- elif messages[0].role == 'system' -%}
{{- SYSTEM_OPENS + given + SYSTEM_ENDS -}}
{%- else -%}
{{- NO_SYSTEM -}}
{%- endif -%}
{%- set place = namespace(first=true, in_results=false) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{%- if not place.first -%}{{- USER_OPENS -}}{%- endif -%}
{{- (plain(message.content, BACKSLASH) if tools else message.content) + USER_ENDS -}}
{%- set place.first = false -%}
{%- elif message.role == 'tool' -%}
{%- if not place.in_results -%}
{%- if not place.first -%}{{- USER_OPENS -}}{%- endif -%}
{%- set place.first = false -%}{%- set place.in_results = true -%}
{%- else -%}{{- NEWLINE -}}{%- endif -%}
{{- RESULT_OPENS + plain(message.content, BACKSLASH) + RESULT_ENDS -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}
{{- USER_ENDS -}}{%- set place.in_results = false -%}
{%- endif -%}
{%- elif message.role == 'assistant' -%}
{{- ASSISTANT_OPENS -}}
{%- if message.content -%}{{- message.content -}}{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- if message.content or not loop.first -%}{{- NEWLINE -}}{%- endif -%}
{{- CALL_OPENS + (call.function.name | tojson) + CALL_GOES_ON -}}
{%- if call.function.arguments is string -%}{{- call.function.arguments -}}
{%- else -%}{{- call.function.arguments | tojson -}}{%- endif -%}
{{- CALL_ENDS -}}
{%- endfor -%}
{{- ASSISTANT_ENDS -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- PROMPT_ENDS -}}{%- endif -%}
"""


@dataclass(frozen=True)
class _Turns:
    """What the base's template writes around the texts of messages."""

    system_opens: str
    system_ends: str
    no_system: str
    user_opens: str
    user_ends: str
    assistant_opens: str
    assistant_ends: str
    prompt_ends: str


def template_with_tools(tokenizer: Any) -> str:
    """Return a chat template that writes turns as the tokenizer's own does, and knows tools.

    Args:
        tokenizer: of transformers; without a template, it gets turns in the form of Llama 2.

    Raises:
        ToolTemplateError: how the base marks turns cannot be told from what its template writes.
    """
    base = tokenizer.get_chat_template() if tokenizer.chat_template else INST_TEMPLATE
    try:
        turns = _turns(_writer(tokenizer, base, "zqday[", "]zqday"))
        found = _filled(turns, structure_tokens(tokenizer, len(tokenizer)).ids)
        for day in ("first ", "second "):
            _prove_turns(_writer(tokenizer, found, day), _writer(tokenizer, base, day))
        derive(renderer(tokenizer, found))
    except (*RENDERING_ERRORS, FormError) as error:
        told = " ".join(str(error).split())
        raise ToolTemplateError(
            "no template with tools can be made of the base's chat template, whose turns were"
            f" rendered: {told}; give the tokenizer one that knows tools"
        ) from None
    return found


def _writer(tokenizer: Any, template: str, before: str, behind: str = "") -> _Write:
    """Return what writes messages by a template, with dates as their format between two texts."""
    dated = _DATED.replace("DAY", before).replace("YAD", behind) + template
    render = renderer(tokenizer, dated)

    def write(messages: _Messages, add_generation_prompt: bool) -> str:
        return render(messages, None, add_generation_prompt)

    return write


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _turns(write: _Write) -> _Turns:
    user, answer = _message("user", _FIRST), _message("assistant", _ANSWER)
    no_system, user_ends = _around(write([user], False), _FIRST)
    _, prompt = _around(write([user], True), _FIRST)
    user_ends = _also_within(user_ends, prompt)
    head, last = _around(write([user, answer], False), _ANSWER)
    _, assistant_opens = _around(head, _FIRST)
    longer = write([user, answer, _message("user", _SECOND)], False)
    between, _ = _around(longer, _SECOND)
    _, opens = _around(between, _ANSWER)
    ends = _also_within(last, opens)
    if (last.strip() and not ends.strip()) or not assistant_opens.startswith(user_ends):
        raise FormError("turns are written in one way in the middle and in another at the end")
    system_opens, system_ends = _system(write, user, no_system)
    return _Turns(
        system_opens,
        system_ends,
        no_system,
        user_opens=opens[len(ends) :],
        user_ends=user_ends,
        assistant_opens=assistant_opens[len(user_ends) :],
        assistant_ends=ends,
        prompt_ends=prompt[len(user_ends) :],
    )


def _also_within(end: str, following: str) -> str:
    """Return what ends a message also where another follows it.

    Some templates write more behind the last one, such as a token that ends the whole.
    """
    return end if following.startswith(end) else shared_start(end, following)


def _system(write: _Write, user: Mapping[str, str], no_system: str) -> tuple[str, str]:
    """Return what stands around a system message; before the first request where none may."""
    try:
        text = write([_message("system", _SYSTEM), user], False)
        opens, behind = _around(text, _SYSTEM)
        return opens, behind[: behind.index(_FIRST)]
    except (*RENDERING_ERRORS, FormError):
        return no_system, "\n\n"


def _around(text: str, mark: str) -> tuple[str, str]:
    before, found, behind = text.rpartition(mark)
    if not found:
        raise FormError(f"{mark!r} is not written as it is")
    return before, behind


def _filled(turns: _Turns, tokens: Collection[str]) -> str:
    """Return the template; ``tokens`` of the base are no marks: they stand in its own texts."""
    turn_texts = {
        "SYSTEM_OPENS": turns.system_opens,
        "SYSTEM_ENDS": turns.system_ends,
        "NO_SYSTEM": turns.no_system,
        "USER_OPENS": turns.user_opens,
        "USER_ENDS": turns.user_ends,
        "ASSISTANT_OPENS": turns.assistant_opens,
        "ASSISTANT_ENDS": turns.assistant_ends,
        "PROMPT_ENDS": turns.prompt_ends,
    }
    form_texts = {
        "INSTRUCTION": hermes.INSTRUCTION,
        "HOW_TO_CALL": hermes.HOW_TO_CALL,
        "RESULT_OPENS": hermes.RESULT_OPENS,
        "RESULT_ENDS": hermes.RESULT_ENDS,
        "CALL_OPENS": hermes.CALL_OPENS,
        "CALL_GOES_ON": hermes.CALL_GOES_ON,
        "CALL_ENDS": hermes.CALL_ENDS,
    }
    others = {"SPACE": "\n\n", "NEWLINE": "\n", "BACKSLASH": "\\"}
    marks = written_markers(_DATE.sub("", "\n".join(turn_texts.values()))) - set(tokens)
    marks |= written_markers("\n".join(form_texts.values()))
    texts = turn_texts | form_texts | others
    written = {name: _expression(text) for name, text in texts.items()}
    written["MARKS"] = f"[{', '.join(map(jinja_text, sorted(marks)))}]"
    template = _TEMPLATE
    # The longest first: the name of one begins the name of another.
    for name in sorted(written, key=len, reverse=True):
        template = template.replace(name, written[name])
    return template


def _expression(text: str) -> str:
    """Return what writes a text in Jinja, with the dates in it written as their formats say."""
    parts = _DATE.split(text)  # a text, a format, a text …
    written = [
        f"strftime_now({jinja_text(part)})" if number % 2 else jinja_text(part)
        for number, part in enumerate(parts)
    ]
    return f"({' + '.join(written)})" if len(written) > 1 else written[0]


def _prove_turns(made: _Write, base: _Write) -> None:
    """Check that a template writes what the base's does, up to where a reply begins.

    Raises:
        FormError: it does not.
    """
    user, answer = _message("user", _FIRST), _message("assistant", _ANSWER)
    more = _message("user", _SECOND)
    for messages in ([user], [user, answer, more]):
        if made(messages, True) != base(messages, True):
            raise FormError("its turns depend on more than their roles")
