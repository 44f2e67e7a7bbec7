"""Small chat templates of our own, each in the shape in which models in use write calls."""

from __future__ import annotations

import json

from transformers.utils.chat_template_utils import render_jinja_template

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

# What most of them share: turns in ChatML, tools in the first of them.
_HEAD = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}"
    "{{ messages[0].content }}\n{% endif %}Tools:\n"
    "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n"
    "{% elif messages[0].role == 'system' %}<|im_start|>system\n{{ messages[0].content }}"
    "<|im_end|>\n"
    "{% endif %}"
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{% elif m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n"
    "</tool_response><|im_end|>\n"
    "{% elif m.role == 'user' or not m.tool_calls %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>\n{% else %}<|im_start|>assistant\n"
)
_TAIL = (
    "<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_EACH = "{% for call in m.tool_calls %}{% set f = call.function %}"
_NOT_LAST = "{% if not loop.last %}"


def chatml(calls: str) -> str:
    """Return a template in ChatML that writes calls like this."""
    return _HEAD + calls + _TAIL


HERMES = chatml(
    "{{ m.content or '' }}"
    + _EACH
    + "{% if not loop.first or m.content %}\n{% endif %}<tool_call>\n"
    + '{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}}\n</tool_call>'
    + "{% endfor %}"
)
# As Qwen3 does: an empty block of reasoning before the last message.
THINKING = HERMES.replace(
    "{% else %}<|im_start|>assistant\n{{ m.content",
    "{% else %}<|im_start|>assistant\n{% if not m.content %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content",
)
# As Llama 3.1 does: nothing but the object, one a message, its text lost.
BARE = chatml(
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    + _EACH
    + '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}{% endfor %}'
)
_MISTRAL_HEAD = (
    "{{ bos_token }}{% set users = messages | selectattr('role', 'equalto', 'user') | list %}"
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif m.role == 'user' %}"
    "{% if tools and m == users | last %}[AVAILABLE_TOOLS] {{ tools | tojson }}"
    "[/AVAILABLE_TOOLS]"
    "{% endif %}"
    "[INST] {{ m.content }}[/INST]{% elif m.role == 'tool' %}"
)
_NINE = (
    "{% if call.id is not defined or call.id | length != 9 %}"
    "{{ raise_exception('ids have nine characters') }}{% endif %}"
)
MISTRAL_LIST = (
    _MISTRAL_HEAD
    + '[TOOL_RESULTS] {"content": {{ m.content | tojson }}, "call_id": "{{ m.tool_call_id }}"}'
    "[/TOOL_RESULTS]{% elif m.tool_calls %}[TOOL_CALLS] ["
    + _EACH
    + _NINE
    + '{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}, "id": "{{ call.id }}"}'
    + _NOT_LAST
    + ", {% else %}]{{ eos_token }}{% endif %}{% endfor %}{% else %} {{ m.content }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
MISTRAL_ARGS = (
    _MISTRAL_HEAD
    + "[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]{% else %}{{ m.content or '' }}"
    + _EACH
    + "[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments | tojson }}{% endfor %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
MISTRAL_IDS = MISTRAL_ARGS.replace("[ARGS]", "[CALL_ID]{{ call.id }}[ARGS]")
_LOOSE = (
    "{% macro loose(value) %}{% if value is none %}null{% elif value is boolean %}"
    "{{ 'true' if value else 'false' }}{% elif value is string %}<escape>{{ value }}<escape>"
    "{% elif value is mapping %}{{ '{' }}{% for key, one in value | dictsort %}{{ key }}:"
    "{{ loose(one) }}"
    + _NOT_LAST
    + ",{% endif %}{% endfor %}{{ '}' }}{% elif value is iterable %}["
    "{% for one in value %}{{ loose(one) }}"
    + _NOT_LAST
    + ",{% endif %}{% endfor %}]{% else %}{{ value }}"
    "{% endif %}{% endmacro %}"
)
GEMMA = (
    _LOOSE + "{{ bos_token }}{% if tools %}<start_of_turn>developer\n{% for tool in tools %}"
    "<start_function_declaration>{{ tool.function.name }}<end_function_declaration>{% endfor %}"
    "<end_of_turn>\n{% endif %}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system role') }}{% elif m.role == 'tool' %}<start_function_response>"
    "response:{{ m.name }}{{ loose({'value': m.content}) }}<end_function_response>{% else %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content or '' }}"
    "{% if m.tool_calls %}"
    + _EACH
    + "<start_function_call>call:{{ f.name }}{{ loose(f.arguments) }}<end_function_call>"
    "{% endfor %}{% endif %}<end_of_turn>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}{% if m.role == 'tool' %}<|tool_response|>{{ m.content | tojson }}"
    "<|end|>{% else %}<|{{ m.role }}|>{{ m.content or '' }}"
    "{% if m.role == 'user' and loop.first and tools %}<|tool|>{{ tools | tojson }}<|/tool|>"
    "{% endif %}{% if m.tool_calls %}<|tool_call|>["
    + _EACH
    + '{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}}'
    + _NOT_LAST
    + ",{% else %}]<|/tool_call|>{% endif %}{% endfor %}{% endif %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# As gpt-oss does: a call is a message of its own, sent to the tool; a text goes to another channel.
CHANNELS = (
    "<|start|>developer<|message|>{{ tools | tojson if tools }}<|end|>{% for m in messages %}"
    "{% if m.role == 'tool' %}<|start|>functions to=assistant<|channel|>commentary<|message|>"
    "{{ m.content | tojson }}<|end|>{% elif m.tool_calls %}"
    "{% if m.content %}<|start|>assistant<|channel|>analysis<|message|>{{ m.content }}<|end|>"
    "{% endif %}{% set f = m.tool_calls[0].function %}<|start|>assistant to=functions.{{ f.name }}"
    "<|channel|>commentary json<|message|>{{ f.arguments | tojson }}<|call|>"
    "{% elif m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "<|return|>{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# As DeepSeek V3 does: arguments given as a text, in a fence.
FENCED = (
    "{{ bos_token }}{{ tools | tojson if tools }}{% for m in messages %}{% if m.role == 'tool' %}"
    "<｜tool▁output｜>{{ m.content }}<｜tool▁output▁end｜>{% elif m.role == 'user' %}<｜User｜>"
    "{{ m.content }}{% elif m.role == 'assistant' %}<｜Assistant｜>{{ m.content or '' }}"
    "{% if m.tool_calls %}<｜tool▁calls▁begin｜>"
    + _EACH
    + "{% if not loop.first %}{{ '\n' }}{% endif %}<｜tool▁call▁begin｜>function<｜tool▁sep｜>"
    "{{ f.name }}{{ '\n```json\n' + f.arguments + '\n```' }}<｜tool▁call▁end｜>{% endfor %}"
    "<｜tool▁calls▁end｜>"
    "{% endif %}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜>{% endif %}"
)
# As DeepSeek V3 did at first: a call is written only where there is no content at all, the tools
# nowhere, and one call alone is not closed.
_GATED_TURNS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}"
    "{% endfor %}{% set results = namespace(before=false) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set results.before = false %}<｜User｜>{{ m.content }}"
    "{% elif m.role == 'tool' %}{{ '' if results.before else '<｜tool▁outputs▁begin｜>' }}"
    "{% set results.before = true %}<｜tool▁output▁begin｜>{{ m.content }}<｜tool▁output▁end｜>"
    "{% elif m.role == 'assistant' and GATE %}{% for call in m.tool_calls %}{% if loop.first %}"
    "{{ START }}<｜tool▁calls▁begin｜>{% else %}{{ '\n' }}"
    "{% endif %}<｜tool▁call▁begin｜>{{ call.type }}<｜tool▁sep｜>{{ call.function.name }}"
    "{{ '\n```json\n' + call.function.arguments + '\n```<｜tool▁call▁end｜>' }}"
    "{% if CLOSED %}<｜tool▁calls▁end｜><｜end▁of▁sentence｜>{% endif %}{% endfor %}"
    "{% elif m.role == 'assistant' %}"
    "{{ '<｜tool▁outputs▁end｜>' if results.before else '<｜Assistant｜>' }}"
    "{% set results.before = false %}{{ m.content }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
    "{{ '<｜tool▁outputs▁end｜>' if results.before }}"
    "{% if add_generation_prompt and not results.before %}<｜Assistant｜>{% endif %}"
)


def _gated(gate: str, start: str, closed: str) -> str:
    parts = {"GATE": gate, "START": start, "CLOSED": closed}
    template = _GATED_TURNS
    for name, text in parts.items():
        template = template.replace(name, text)
    return template


GATED = _gated("m.content is none", "'<｜Assistant｜>'", "loop.last and not loop.first")
# As its later releases: with a text too, closed, and still without the tools.
TOLD = _gated("'tool_calls' in m", "'<｜Assistant｜>' + (m.content or '')", "loop.last")
# As Qwen3-Coder does: an element an argument, texts as they are, other values as Python's.
ELEMENTS = chatml(
    "{{ m.content or '' }}"
    + _EACH
    + "\n<tool_call>\n<function={{ f.name }}>\n{% for key, value in f.arguments | items %}"
    "<parameter={{ key }}>\n{{ value | tojson if value is mapping or value is none else value }}\n"
    "</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}"
)
# As DeepSeek V3.2 does: each element says whether it is a text.
TYPED = chatml(
    "{{ m.content or '' }}<calls>\n"
    + _EACH
    + '<invoke name="{{ f.name }}">\n{% for key, value in f.arguments | items %}'
    "<parameter name=\"{{ key }}\" string=\"{{ 'true' if value is string else 'false' }}\">"
    "{{ value if value is string else value | tojson }}</parameter>\n{% endfor %}</invoke>\n"
    "{% endfor %}</calls>"
)
# As LFM2 does: calls as in Python.
KEYWORDS = chatml(
    "{% macro literal(value) %}{% if value is string %}"
    "{{ \"'\" + value | replace('\\\\', '\\\\\\\\') | replace(\"'\", \"\\\\'\")"
    " | replace('\n', '\\\\n') | replace('\t', '\\\\t') + \"'\" }}{% elif value is boolean %}"
    "{{ value }}{% else %}{{ value | tojson }}{% endif %}{% endmacro %}"
    "{{ m.content or '' }}<|tool_call_start|>["
    + _EACH
    + "{{ f.name }}({% for key, value in f.arguments | items %}{{ key }}={{ literal(value) }}"
    + _NOT_LAST
    + ", {% endif %}{% endfor %}){% if not loop.last %}, {% endif %}{% endfor %}]<|tool_call_end|>"
)
# As Kimi K2 does: the name has a space of names before it and a number behind it.
COUNTED = chatml(
    "{{ m.content or '' }}<|calls|>"
    + _EACH
    + "<|call|>functions.{{ f.name }}:{{ loop.index0 }}<|args|>{{ f.arguments | tojson }}"
    "<|end_call|>{% endfor %}<|end_calls|>"
)
# As Apertus does: the name is the key.
KEYED = chatml(
    "{{ m.content or '' }}<|tools_prefix|>["
    + _EACH
    + '{"{{ f.name }}": {{ f.arguments | tojson }}}'
    + _NOT_LAST
    + ", {% endif %}{% endfor %}]<|tools_suffix|>"
)
# As OpenAI's own records have it: the arguments as a text in a nested object.
NESTED = chatml(
    "{{ m.content or '' }}<tool_calls>"
    + _EACH
    + '{"type": "function", "function": {"name": "{{ f.name }}", "arguments": '
    "{{ f.arguments | tojson | tojson }}}}" + _NOT_LAST + "\n{% endif %}{% endfor %}</tool_calls>"
)
JSON_SHAPES = {
    "hermes": HERMES,
    "thinking": THINKING,
    "bare": BARE,
    "mistral list": MISTRAL_LIST,
    "mistral args": MISTRAL_ARGS,
    "mistral ids": MISTRAL_IDS,
    "phi": PHI,
    "channels": CHANNELS,
    "fenced": FENCED,
    "gated": GATED,
    "told": TOLD,
    "counted": COUNTED,
    "keyed": KEYED,
    "nested": NESTED,
}
OTHER_SHAPES = {"gemma": GEMMA, "elements": ELEMENTS, "typed": TYPED, "keywords": KEYWORDS}
SHAPES = {**JSON_SHAPES, **OTHER_SHAPES}

NO_TOOLS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def renderer(template):
    """Return what renders messages by a template, as ``derive`` wants it."""

    def render(messages, tools, add_generation_prompt):
        given = json.loads(json.dumps(list(tools))) if tools else None
        (text,), _ = render_jinja_template(
            [list(messages)],
            tools=given,
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            **TOKENS,
        )
        return text

    return render


# As SmolLM3 does: it tells how to call, and leaves calls to the texts of messages.
DESCRIBED = (
    "<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content }}\n"
    "{% endif %}{% if tools %}Tools:\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "For each call return a JSON object:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>{% endif %}'
    "<|im_end|>\n{% for m in messages %}{% if m.role == 'system' %}{% elif m.role == 'tool' %}"
    "<|im_start|>user\n{{ m.content }}<|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# It shows tools and says nothing of calls.
SILENT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}{% if loop.first and tools %}"
    "<|tool|>{{ tools | tojson }}<|/tool|>{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Templates of bases that know no tools.
HEADERS = (
    "{{ bos_token }}{% if messages[0].role != 'system' %}<|head|>system<|/head|>\n\n"
    "You are helpful.<|eot|>{% endif %}{% for m in messages %}<|head|>{{ m.role }}<|/head|>\n\n"
    "{{ m.content }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# What ends a turn depends on the place.
UNEVEN = NO_TOOLS.replace(
    "<|im_end|>\n{% endfor", "{{ '<|im_end|>' if loop.last else '<|x|>' }}\n{% endfor"
)
# As Phi-3 does, and Phi-4-mini: what ends the whole stands behind the last message, unless another
# is to follow.
ENDED = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}"
)
# As SmolLM3 does: tools go by names of their own, one for each form of calls.
OTHER_NAMES = (
    DESCRIBED.replace("if tools", "if xml_tools")
    .replace("in tools", "in xml_tools[:]")
    .replace(
        "{% if xml_tools %}",
        "{% if python_tools %}In Python, between <code> and </code>:\n"
        "{% for tool in python_tools[:] %}"
        "{{ tool.function.name }}: {{ tool.function.description }}\n{% endfor %}{% endif %}"
        "{% if xml_tools %}",
    )
)
