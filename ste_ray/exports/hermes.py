"""Conversations as the Hermes models were taught to call functions: tools and calls as text.

Turns of ``system``, ``human``, ``gpt`` and ``tool`` in ``conversations``, and the tools once more,
as JSON text, in ``tools``. How calls are written is told in ``core.native_calls.hermes``.
Source of the form: huggingface.co/datasets/NousResearch/hermes-function-calling-v1.
"""

from __future__ import annotations

import json
from pathlib import Path

from ste_ray.core.native_calls import hermes
from ste_ray.exports.chat import Conversation, Offers, conversations, name_map
from ste_ray.exports.folder import LineFiles, Written, write_json
from ste_ray.exports.sharegpt import Turn, sharegpt_turns
from ste_ray.exports.source import ExportSource

TRIED = "vLLM's parser `hermes` of 0.33"
_ROLES = {"system": "system", "user": "human", "assistant": "gpt", "call": "gpt", "tool": "tool"}


def write_hermes(folder: Path, source: ExportSource, offers: Offers) -> Written:
    """Write a file for each split; return rows by split."""
    with LineFiles(folder) as files:
        for one in conversations(source, offers, "object", files.left_out):
            tools = json.dumps(one.tools or [], ensure_ascii=False)
            row = {"id": one.row_id, "conversations": _turns(one), "tools": tools}
            files.write(one.split, row)
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_readme(source), encoding="utf-8")
    return files.written


def _turns(one: Conversation) -> list[Turn]:
    turns = sharegpt_turns(one.messages, _ROLES, hermes.call_text, hermes.result_text)
    if not one.tools:
        return turns
    told = hermes.tools_text(one.tools)
    if turns[0]["from"] == _ROLES["system"]:
        turns[0]["value"] += f"\n\n{told}"
        return turns
    return [{"from": _ROLES["system"], "value": told}, *turns]


def _readme(source: ExportSource) -> str:
    return (
        f"Tool calls prepared by ste-ray{source.public_origin}, as conversations in the form of\n"
        "the Hermes models: calls stand in the text, between `<tool_call>` and `</tool_call>`.\n"
        "Trainers read the rows as ShareGPT, with the roles system, human, gpt and tool. Tools go\n"
        "by names of letters, digits, `_` and `-`; `tool_names.json` holds the names that they\n"
        "stand for.\n\n"
        f"Tried with {TRIED}.\n"
    )
