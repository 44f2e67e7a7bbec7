"""Chat templates that write calls, or tell how to, and do not show the tools that they are given.

Some take tools by a variable of another name, some leave them to whoever writes the system message.
Servers give every template its tools as ``tools``. So a few lines stand before such a template that
put them where it shows them; without tools they do nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from jinja2 import Environment, TemplateError, meta
from jinja2.ext import loopcontrols

from ste_ray.chat_tokens.call_forms.probes import IDS, NAMES, RENDERING_ERRORS, TOOLS, Render, asked
from ste_ray.core.native_calls import hermes
from ste_ray.core.native_calls.form import CallForm, WrittenCall
from ste_ray.core.native_calls.writing import write_calls

_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
# Of other variables, such as a token or a date, a template would show whatever they hold.
_FOR_TOOLS = re.compile(r"tool|function", re.IGNORECASE)
# What tells how to call: no name and no value that anybody would take for a real one.
_EXAMPLE = WrittenCall(name="function-name", arguments_text='{"argument-name": "value"}', id=IDS[0])

# A line break follows each: templates are rendered so that the first behind a block is left out.
_UNDER_OTHER_NAME = "{%- if tools -%}{%- set NAME = tools -%}{%- endif %}\n"
_IN_MESSAGE = """\
{%- if tools -%}
{%- set told = namespace(tools=INSTRUCTION) -%}
{%- for tool in tools -%}
{%- set told.tools = told.tools + NEWLINE + (tool | tojson) -%}
{%- endfor -%}
{%- set told.tools = told.tools + HOW_TO_CALL -%}
{%- if messages[0].role == ROLE -%}
{%- set messages = [{'role': ROLE, 'content': BOTH}] + messages[1:] -%}
{%- else -%}
{%- set messages = [{'role': ROLE, 'content': told.tools}] + messages -%}
{%- endif -%}
{%- endif %}
"""


def shows_tools(render: Render) -> bool:
    """Whether a template shows the tools that it is given."""
    for tools in TOOLS:
        try:
            if NAMES[0] in render(asked(), tools, True):
                return True
        except RENDERING_ERRORS:
            continue
    return False


def under_other_names(template: str) -> Iterator[str]:
    """Yield templates that give one their tools by another variable of it, one after another."""
    environment = Environment(extensions=[loopcontrols], autoescape=False)
    try:
        parsed = environment.parse(_GENERATION.sub("", template))
    except TemplateError:
        return
    for name in sorted(filter(_FOR_TOOLS.search, meta.find_undeclared_variables(parsed))):
        yield _UNDER_OTHER_NAME.replace("NAME", name) + template


def in_first_message(template: str, form: CallForm, system: bool) -> str:
    """Return a template whose first message shows the tools, and how to call one.

    Args:
        template: that shows none.
        form: in which it writes calls.
        system: whether it takes a system message; else the first request shows them.
    """
    written = write_calls([_EXAMPLE], form)[len(form.started) :].strip()
    how = f"\n</tools>\n\nTo call a function, write its name and arguments so:\n{written}"
    both = "messages[0].content + SPACE + told.tools"
    texts = {
        "BOTH": both if system else "told.tools + SPACE + messages[0].content",
        "INSTRUCTION": jinja_text(hermes.INSTRUCTION),
        "NEWLINE": jinja_text("\n"),
        "HOW_TO_CALL": jinja_text(how),
        "ROLE": jinja_text("system" if system else "user"),
        "SPACE": jinja_text("\n\n"),
    }
    lines = _IN_MESSAGE
    for name, text in texts.items():
        lines = lines.replace(name, text)
    return lines + template


def jinja_text(text: str) -> str:
    """Return a text as Jinja writes it; braces and percent signs would be taken for tags."""
    written = json.dumps(text, ensure_ascii=False)
    for char, code in (("{", "\\u007b"), ("}", "\\u007d"), ("%", "\\u0025")):
        written = written.replace(char, code)
    return written
