"""Explored trials as ``data_dict.json``, the file that the published study's exploration wrote.

Tool -> sessions -> ``item_list`` (one item a trial: ``query`` and ``chains``, its steps) and
``messages``. A step says ``parse_successful`` and ``finish`` and holds ``action``,
``action_input`` and ``observation``, or ``final_ans``, or ``parse_error_msg``; each also names the
tools it could choose from. Whether a trial was solved stands in the messages only, as in the
study. Trials without any step have no place in that form: its readers look at the last step.
Source of the form: github.com/microsoft/simulated-trial-and-error, ``STE/main.py``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from ste_ray.core.records import Episode, Trial, Turn
from ste_ray.core.replies.chat_form import chat_messages
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError


@dataclass
class DataDictCounts:
    """What went into a ``data_dict.json``, and how many trials could not."""

    tools: int = 0
    sessions: int = 0
    items: int = 0
    trials_without_steps: int = 0


def write_data_dict(
    episodes: Iterable[Episode], specs: Mapping[str, ToolSpec], stream: TextIO
) -> DataDictCounts:
    """Write ``episodes`` to ``stream`` as JSON, holding one of them at a time.

    Args:
        episodes: all episodes, those of one tool one after the other.
        specs: the tools as they were explored.
        stream: where the text goes; it is ASCII.

    Raises:
        StageInputError: an episode is of an unknown tool, or those of a tool stand apart.
    """
    counts = DataDictCounts()
    written: set[str] = set()
    stream.write("{")
    for tool, group in itertools.groupby(episodes, key=lambda episode: episode.tool):
        if tool in written:
            raise StageInputError(
                f"the episodes of tool {tool!r} do not stand together; run the explore stage again"
            )
        if tool not in specs:
            raise StageInputError(
                f"episodes of tool {tool!r} are there, but the run does not describe it; "
                "run the explore stage again"
            )
        stream.write(f"{', ' if written else ''}{json.dumps(tool)}: [")
        written.add(tool)
        for number, episode in enumerate(group):
            stream.write(", " if number else "")
            stream.write(json.dumps(_session(episode, specs[tool], counts)))
        stream.write("]")
    stream.write("}\n")
    counts.tools = len(written)
    return counts


def _session(episode: Episode, spec: ToolSpec, counts: DataDictCounts) -> dict[str, Any]:
    items = [_item(trial, spec) for trial in episode.trials if trial.turns]
    counts.sessions += 1
    counts.items += len(items)
    counts.trials_without_steps += len(episode.trials) - len(items)
    return {"item_list": items, "messages": chat_messages(episode.messages)}


def _item(trial: Trial, spec: ToolSpec) -> dict[str, Any]:
    choice = api_choice(spec)
    return {"query": trial.query, "chains": [choice | _step(turn) for turn in trial.turns]}


def api_choice(spec: ToolSpec) -> dict[str, Any]:
    """Return the tool that could be chosen, as the study's items name and describe it."""
    parameters = json.dumps(spec.parameters, ensure_ascii=False)
    described = f"API_name: {spec.name}\nDescription: {spec.description}\nParameters: {parameters}"
    return {"API_name_list": [spec.name], "api_descriptions": described}


def _step(turn: Turn) -> dict[str, Any]:
    """Return one step; the last one of a trial that ran out of turns has no observation."""
    if turn.kind == "final_answer":
        return {"parse_successful": True, "final_ans": turn.final_answer, "finish": True}
    step: dict[str, Any] = {"parse_successful": turn.kind == "tool_call", "finish": False}
    if turn.kind == "tool_call":
        step |= {"action": turn.tool, "action_input": turn.arguments_text or turn.arguments_json}
    else:
        step["parse_error_msg"] = turn.observation or turn.failure_message or turn.failure_kind
    if turn.observation_status != "none":
        step["observation"] = turn.observation
    return step
