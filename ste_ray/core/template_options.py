"""Options of a chat template, such as ``enable_thinking``: checked, and written into the template.

A template that holds its options needs nobody who remembers them: a model that was trained with
some is asked with the same ones by whatever program loads its folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

#: Read by the template of models with toolkens: what becomes of tools that were not learned.
UNKNOWN_TOOLS = "unknown_tools"
# What ``apply_chat_template`` takes for itself, or gives to every template.
RESERVED = frozenset(
    {
        "add_generation_prompt",
        "bos_token",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "eos_token",
        "max_length",
        "messages",
        "pad_token",
        "padding",
        "processor_kwargs",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "self",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
        "unk_token",
    }
)
# Words that Jinja takes for its own.
_WORDS = frozenset(
    {"and", "caller", "else", "false", "for", "if", "in", "is", "kwargs", "loop", "none", "not"}
    | {"or", "recursive", "super", "true", "varargs"}
)


def check_template_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no template can be given.

    Raises:
        ValueError: naming the option and what is allowed.
    """
    for name, value in options.items():
        if name in RESERVED:
            raise ValueError(
                f"{name!r} is set by the program itself; give options of the chat template, such "
                "as enable_thinking"
            )
        if not name.isidentifier() or name.lower() in _WORDS or name.startswith("_"):
            raise ValueError(
                f"{name!r} is no name of an option; use a word such as enable_thinking"
            )
        literal(name, value)


def with_options(template: str, options: Mapping[str, Any], *, fixed: bool = False) -> str:
    """Return a Jinja template that takes its options from ``options``.

    Args:
        template: of a chat.
        options: name -> value.
        fixed: whether they hold even if a caller gives others; else they are what holds if none is
            given.
    """
    default = "{% set NAME = VALUE %}" if fixed else "{% set NAME = NAME | default(VALUE) %}"
    lines = [
        default.replace("NAME", name).replace("VALUE", literal(name, value))
        for name, value in sorted(options.items())
    ]
    return "".join(lines) + template


def unused_options(template: str, options: Mapping[str, Any]) -> list[str]:
    """Return the options of which a template holds not even the name."""
    return [name for name in sorted(options) if name not in template]


def literal(name: str, value: Any) -> str:
    """Return a value as Jinja writes it.

    Raises:
        ValueError: Jinja cannot hold it; the message begins with ``name``.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # Percent signs and braces would be taken for tags by some readers of templates.
        text = json.dumps(value, ensure_ascii=False)
        return text.replace("{", "\\u007b").replace("}", "\\u007d").replace("%", "\\u0025")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value - value == 0:
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(literal(name, one) for one in value)}]"
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        pairs = (f"{literal(name, key)}: {literal(name, one)}" for key, one in value.items())
        return "{ " + ", ".join(pairs) + " }"
    raise ValueError(f"{name!r} is {value!r}; use texts, numbers, true, false, lists or mappings")


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    check_template_options(options)
    return options


# A field of a section; without options, a fingerprint is as if the field were not there.
TemplateOptions = Annotated[
    dict[str, Any], AfterValidator(_checked), Field(json_schema_extra={"unless_empty": True})
]
