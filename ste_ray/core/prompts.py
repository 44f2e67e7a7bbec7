"""Prompt templates: named texts with ``$placeholders``, filled strictly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from string import Template

from ste_ray.core.effects import OfferedTool
from ste_ray.core.records import Message, fingerprint
from ste_ray.core.tool_specs import ToolSpec

REQUIRED_PROMPTS = frozenset(
    {
        "explore_query_first",
        "explore_query_next",
        "explore_long_term_memory",
        "explore_answer",
        "explore_reflect",
        "observation_parse_failure",
        "observation_withheld",
        "judge",
        "judge_again",
        "paraphrase_first",
        "paraphrase_next",
        "paraphrase_again",
        "act_system",
        "act_system_retrieved",
        "general_system",
        "no_tool_answer",
        "simulate_tool",
        "score",
        "score_again",
    }
)
# What only the native protocol says. They have a fingerprint of their own, so that runs in the text
# protocol stay what they were.
NATIVE_PROMPTS = frozenset(
    {
        "explore_answer_native",
        "observation_parse_failure_native",
        "observation_call_failure_native",
        "observation_not_executed_native",
        "act_system_native",
    }
)
# What only tests of other kinds are made with; likewise.
TEST_PROMPTS = frozenset(
    {
        "test_natural",
        "test_indirect",
        "test_missing_argument",
        "test_no_tool",
        "test_confusable",
        "test_again",
        "test_check",
        "test_check_again",
    }
)
# What only the adaptive plan of an exploration says; likewise.
PLAN_PROMPTS = frozenset({"explore_not_visited"})
# What only final answers that no rule decides are judged with; likewise.
ANSWER_PROMPTS = frozenset({"score_answer", "score_answer_again"})
_APART = NATIVE_PROMPTS | TEST_PROMPTS | PLAN_PROMPTS | ANSWER_PROMPTS
_MAX_DESCRIPTION_CHARS = 1024  # what OpenAI's API takes


class PromptSet:
    """All prompts of a run; those that have a fingerprint of their own may be left out.

    Attributes:
        fingerprint: of all others.
        native_fingerprint: of those of the native protocol.
        test_fingerprint: of those that tests of other kinds are made with.
        plan_fingerprint: of those of the adaptive plan.
        answer_fingerprint: of those that final answers are judged with.

    Raises:
        KeyError: a required prompt is absent, or a template is rendered without a value it needs.
    """

    def __init__(self, templates: Mapping[str, str]) -> None:
        missing = REQUIRED_PROMPTS - templates.keys()
        if missing:
            raise KeyError(f"missing prompts: {', '.join(sorted(missing))}")
        self._templates = {name: Template(text.strip()) for name, text in templates.items()}
        self._system_messages: dict[str, Message] = {}
        ordered = sorted(templates.items())
        self.fingerprint = fingerprint({name: text for name, text in ordered if name not in _APART})
        self.native_fingerprint = fingerprint(
            {name: text for name, text in ordered if name in NATIVE_PROMPTS}
        )
        self.test_fingerprint = fingerprint(
            {name: text for name, text in ordered if name in TEST_PROMPTS}
        )
        self.plan_fingerprint = fingerprint(
            {name: text for name, text in ordered if name in PLAN_PROMPTS}
        )
        self.answer_fingerprint = fingerprint(
            {name: text for name, text in ordered if name in ANSWER_PROMPTS}
        )

    def render(self, name: str, **values: str) -> str:
        """Fill the template ``name``; values are inserted as they are, never expanded again."""
        return self._templates[name].substitute(values)

    def system_message(self, name: str) -> Message:
        """Return the template ``name``, which takes no values, as a system message."""
        if name not in self._system_messages:
            self._system_messages[name] = Message(role="system", content=self.render(name))
        return self._system_messages[name]


def describe_tool(spec: ToolSpec) -> str:
    """What the model is told about a tool: name, description and JSON Schema of the arguments."""
    schema = json.dumps(spec.parameters, ensure_ascii=False)
    return f"Tool: {spec.name}\nDescription: {spec.description}\nParameters: {schema}"


def offered_tool(spec: ToolSpec) -> OfferedTool:
    """Return a tool as requests offer it for native calls."""
    parameters = {**spec.parameters, "type": "object"}
    parameters.setdefault("properties", {})
    text = spec.description
    if len(text) > _MAX_DESCRIPTION_CHARS:
        text = f"{text[: _MAX_DESCRIPTION_CHARS - 1]}…"
    schema = json.dumps(parameters, ensure_ascii=False)
    return OfferedTool(name=spec.name, description=text, parameters_json=schema)


def describe_tools(specs: Iterable[ToolSpec]) -> str:
    """Descriptions of several tools, separated by empty lines."""
    return "\n\n".join(describe_tool(spec) for spec in specs)
