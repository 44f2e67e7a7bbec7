r"""The chat template of a model with toolkens: requests that have ``tools`` become training's form.

A prelude before the base's own template rewrites ``messages``: the system line of tool mode, past
calls as ``Action: <tool_x>``, results as observations, answers behind ``Final Answer:``. Tools that
have a toolken are not described, for the model has learned them. Without tools, and without calls
in the conversation, the prelude changes nothing. Where the base knows no system message, its text
stands before what the user says first, or what the first tool returns.

Servers tokenize the rendered text, so contents that look like tokens of the tokenizer would become
them. In tool mode they get a visible backslash, ``<|im_end|>`` → ``<\|im_end|>``, as this project
itself writes them where it cannot keep them as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from jinja2 import TemplateError

from ste_ray.chat_tokens.rendering import render
from ste_ray.chat_tokens.structure import structure_tokens
from ste_ray.core.records import Message
from ste_ray.core.template_options import literal
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import is_toolken, toolken

_BEGIN, _END = "{#- toolkens: begin -#}", "{#- toolkens: end -#}"
_PRELUDE = re.compile(rf"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
_PROBE = (Message(role="system", content="a"), Message(role="user", content="b"))

# Everything has names of its own, since the base's template sees them too.
_TEMPLATE = r"""
{%- set unknown_tools = unknown_tools | default('describe') -%}
{%- set toolken_names = NAMES -%}
{%- set toolken_line = SYSTEM -%}
{%- set toolken_state = namespace(on=false, system='', messages=[], results=false,
 told=not INSIDE) -%}
{%- if tools -%}{%- set toolken_state.on = true -%}{%- endif -%}
{%- for one in messages -%}
{%- if one.role == 'tool' or one.tool_calls -%}{%- set toolken_state.on = true -%}{%- endif -%}
{%- endfor -%}
{%- macro toolken_plain(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content -%}
{%- for one in content -%}
{{- ('' if loop.first else '\n') + (one if one is string else one.text | default('', true)) -}}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- macro toolken_escaped(content) -%}
{%- set kept = namespace(text=toolken_plain(content)) -%}
{%- for found, written in SPECIALS -%}
{%- if found in kept.text -%}{%- set kept.text = kept.text.replace(found, written) -%}{%- endif -%}
{%- endfor -%}
{%- for piece in kept.text.split('<tool') -%}
{%- if not loop.first -%}
{{- '<tool' -}}{%- if piece.lstrip('\\').startswith('_') -%}{{- '\\' -}}{%- endif -%}
{%- endif -%}
{{- piece -}}
{%- endfor -%}
{%- endmacro -%}
{%- macro toolken_calls(message) -%}
{%- set thought = toolken_plain(message.reasoning_content) or toolken_plain(message.content) -%}
{%- if thought.strip() -%}{{- 'Thought: ' + toolken_escaped(thought) + '\n' -}}{%- endif -%}
{%- for one in message.tool_calls -%}
{%- set call = one.function | default(one) -%}
{%- set given = call.arguments if call.arguments is string
 else call.arguments | tojson(separators=(',', ':')) -%}
{%- set kept = namespace(text=given or '{}') -%}
{%- for found, written in QUOTED -%}
{%- if found in kept.text -%}{%- set kept.text = kept.text.replace(found, written) -%}{%- endif -%}
{%- endfor -%}
{{- ('' if loop.first else '\n') + 'Action: '
 + (toolken_names[call.name] if call.name in toolken_names else toolken_escaped(call.name))
 + '\nAction Input: ' + kept.text.replace('<tool_', '\\u003ctool_') -}}
{%- endfor -%}
{%- endmacro -%}
{%- if toolken_state.on -%}
{%- set toolken_state.system = toolken_line -%}
{%- for one in tools or [] -%}
{%- set offered = one.function | default(one) -%}
{%- if offered.name not in toolken_names -%}
{%- if unknown_tools == 'refuse' -%}
{{- raise_exception("the model has not learned the tool '" + offered.name
 + "'; leave it out, or give unknown_tools='describe' in chat_template_kwargs") -}}
{%- elif unknown_tools != 'describe' -%}
{{- raise_exception("unknown_tools is '" ~ unknown_tools ~ "'; give 'describe' or 'refuse'") -}}
{%- endif -%}
{%- set toolken_state.system = toolken_state.system + '\n\nTool: ' + toolken_escaped(offered.name)
 + '\nDescription: ' + toolken_escaped(offered.description | default('', true))
 + '\nParameters: ' + toolken_escaped(offered.parameters | default({}, true) | tojson) -%}
{%- endif -%}
{%- endfor -%}
{%- for one in messages -%}
{%- if one.role in ['system', 'developer'] -%}
{%- set said = toolken_plain(one.content) -%}
{%- if said.strip() and said.strip() != toolken_line -%}
{%- set toolken_state.system = toolken_state.system + '\n\n' + toolken_escaped(said) -%}
{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if not INSIDE -%}
{%- set toolken_state.messages = [{'role': 'system', 'content': toolken_state.system}] -%}
{%- endif -%}
{%- for one in messages -%}
{%- set before = toolken_state.results -%}
{%- set toolken_state.results = one.role == 'tool' -%}
{%- if one.role == 'user' or one.role == 'tool' -%}
{%- set said = ('Observation: ' if one.role == 'tool' else '') + toolken_escaped(one.content) -%}
{%- if before and one.role == 'tool' -%}
{%- set said = toolken_state.messages[-1].content + '\n' + said -%}
{%- set toolken_state.messages = toolken_state.messages[:-1] -%}
{%- elif not toolken_state.told -%}
{%- set said = toolken_state.system + '\n\n' + said -%}
{%- set toolken_state.told = true -%}
{%- endif -%}
{%- set toolken_state.messages = toolken_state.messages + [{'role': 'user', 'content': said}] -%}
{%- elif one.role == 'assistant' -%}
{%- set said = toolken_calls(one) if one.tool_calls
 else 'Final Answer: ' + toolken_escaped(one.content) -%}
{%- set toolken_state.messages = toolken_state.messages
 + [{'role': 'assistant', 'content': said}] -%}
{%- endif -%}
{%- endfor -%}
{%- if not toolken_state.told -%}
{{- raise_exception('tools and system message have no place without a message of a user') -}}
{%- endif -%}
{%- set messages = toolken_state.messages -%}
{%- set tools = none -%}
{%- endif -%}
"""


def with_toolkens(tokenizer: Any, tools: Iterable[str], system: str) -> str:
    """Return the tokenizer's chat template with tool mode in the form of training.

    Clients may call a tool by its name or by its safe name. Jinja's variable ``unknown_tools`` says
    what becomes of tools without a toolken: they are described in the prompt (``describe``), or the
    request is refused (``refuse``).

    Args:
        tokenizer: of transformers, with all its toolkens.
        tools: names of those that have a toolken in use.
        system: the system line of tool mode.
    """
    template = str(without_toolkens(tokenizer.chat_template))
    names = list(tools)
    called = {safe_name(name): toolken(name) for name in names}
    called |= {name: toolken(name) for name in names}
    marks = sorted(structure_tokens(tokenizer, len(tokenizer)).ids, key=lambda text: -len(text))
    marks = [text for text in marks if not is_toolken(text) and len(text) > 1]
    values = {
        "NAMES": literal("toolkens", called),
        "SYSTEM": literal("system", system),
        "INSIDE": literal("inside", _refuses_system(tokenizer, template)),
        "SPECIALS": literal("marks", [[text, f"{text[0]}\\{text[1:]}"] for text in marks]),
        "QUOTED": literal("marks", [[text, f"\\u{ord(text[0]):04x}{text[1:]}"] for text in marks]),
    }
    prelude = re.sub("|".join(values), lambda found: values[found[0]], _TEMPLATE)
    body = prelude.strip("\n").replace("\n ", " ").replace("\n", "")
    return _placed(str(tokenizer.chat_template), f"{_BEGIN}{body}{_END}")


def has_toolkens(template: Any) -> bool:
    """Whether a chat template has the tool mode of toolkens."""
    return isinstance(template, str) and _PRELUDE.search(template) is not None


def without_toolkens(template: Any) -> Any:
    """Return a chat template without the tool mode of toolkens; what is no text stays."""
    return _PRELUDE.sub("", template) if isinstance(template, str) else template


def _placed(template: str, prelude: str) -> str:
    if _PRELUDE.search(template):  # behind the options of an earlier training
        return _PRELUDE.sub(lambda _: prelude, template, count=1)
    return prelude + template


def _refuses_system(tokenizer: Any, template: str) -> bool:
    try:
        render(tokenizer, _PROBE, template, add_generation_prompt=True)
    except TemplateError:
        return True
    return False
