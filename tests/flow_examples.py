"""A tool, prompts short enough to spell out whole transcripts, and replies in the format."""

from __future__ import annotations

from ste_ray.core.effects import Flow
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode, Message, Trial, Turn
from ste_ray.core.tool_specs import ToolSpec

PROMPT_TEXTS = {
    "explore_query_first": "FIRST $tools$long_term_memory",
    "explore_query_next": "NEXT$long_term_memory",
    "explore_long_term_memory": "MEMORY\n$queries",
    "explore_answer": "ANSWER $tool_names $max_turns",
    "explore_reflect": "REFLECT",
    "observation_parse_failure": "BAD: $message",
    "observation_withheld": "WITHHELD",
    "judge": "JUDGE $tool|$query|$tool_name|$arguments|$observation|$final_answer",
    "paraphrase_first": "REPHRASE $query KEEP $values",
    "paraphrase_next": "NEXT",
    "paraphrase_again": "AGAIN $problem",
    "judge_again": "UNREAD $problem",
    "act_system": "ACT",
    "act_system_retrieved": "ACT WITH $tools",
    "general_system": "TALK",
    "no_tool_answer": "NO TOOL",
    "simulate_tool": "SIMULATE $tool|$arguments",
    "score": "SCORE $tool|$query|$gold|$predicted|$names",
    "score_again": "UNREAD $problem",
    "score_answer": "SCORE $tool|$query|$tool_name|$arguments|$observation|$answer",
    "score_answer_again": "UNREAD $problem",
}
PROMPTS = PromptSet(PROMPT_TEXTS)
SPEC = ToolSpec(
    name="add",
    description="Adds.",
    parameters={"type": "object", "properties": {"n": {"type": "integer"}}},
    executor={"kind": "python", "target": "module:add"},
)
FIRST = (
    "FIRST Tool: add\nDescription: Adds.\n"
    'Parameters: {"type": "object", "properties": {"n": {"type": "integer"}}}'
)
FINAL = "Thought: I now know the answer\nFinal Answer: It is 3."


def call(n: int = 1) -> str:
    """A reply that calls the tool."""
    return f'Thought: try {n}\nAction: add\nAction Input: {{"n": {n}}}'


def episode(num_trials: int = 1, **settings: object) -> Flow[Episode]:
    """An episode flow without earlier queries."""
    return episode_flow(
        SPEC,
        PROMPTS,
        TrialSettings.model_validate(settings),
        number=0,
        num_trials=num_trials,
        memory=(),
        config_fingerprint="config",
    )


def lines(messages: tuple[Message, ...]) -> list[str]:
    """Messages as text, one string each, the role's initial in front."""
    return [f"{message.role[0]}: {message.content}" for message in messages]


def trial(turns: tuple[Turn, ...] = (), **fields: object) -> Trial:
    """A finished trial."""
    values = {
        "trial_id": "t1",
        "episode_id": "e1",
        "tool": "add",
        "episode_number": 0,
        "trial_number": 0,
        "query": "What is 1 plus 2?",
        "query_text": "What is 1 plus 2?",
        "memory_shown": 0,
        "turns": turns,
        "final_answer": "It is 3.",
        "outcome": "finished",
        "solved": "yes",
    }
    return Trial.model_validate(values | fields)


def called(status: str, n: int = 1) -> Turn:
    """A turn with a call."""
    return Turn.model_validate(
        {
            "reply_index": 3,
            "reply_text": call(n),
            "kind": "tool_call",
            "tool": "add",
            "arguments_text": f'{{"n": {n}}}',
            "arguments_json": f'{{"n":{n}}}',
            "observation": f"seen {n}",
            "observation_status": status,
        }
    )


def in_replies(*turns: Turn) -> tuple[Turn, ...]:
    """The turns, each in a reply of its own."""
    return tuple(
        one.model_copy(update={"reply_index": 3 + 2 * place}) for place, one in enumerate(turns)
    )
