"""For LLaMA-Factory: ShareGPT conversations whose calls and results have roles of their own.

``dataset_info.json`` names the files as data sets of the formatting ``sharegpt``; the folder is the
``dataset_dir`` of a training. Its loader takes turns in strict alternation, with the system message
and the tools, as JSON text, in columns beside them; it passes over rows that are not so, silently
but for a warning. Here they are left out and counted.
Source of the form: github.com/hiyouga/LlamaFactory, its page on data.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from ste_ray.exports.chat import Offers, conversations, name_map
from ste_ray.exports.folder import LineFiles, Written, write_json
from ste_ray.exports.sharegpt import Turn, sharegpt_turns
from ste_ray.exports.source import ExportSource

TRIED = "0.9.5"
_ROLES = {
    "system": "system",
    "user": "human",
    "assistant": "gpt",
    "call": "function_call",
    "tool": "observation",
}
_ASKING = frozenset({"human", "observation"})
_ANSWERING = frozenset({"gpt", "function_call"})
_NOT_ALTERNATING = "general data whose turns of user and assistant do not alternate"


def write_llamafactory(folder: Path, source: ExportSource, offers: Offers) -> Written:
    """Write a file for each split and ``dataset_info.json``; return rows by split."""
    with LineFiles(folder) as files:
        for one in conversations(source, offers, "object", files.left_out):
            turns = sharegpt_turns(one.messages, _ROLES, _call_text)
            system = turns.pop(0)["value"] if turns[0]["from"] == "system" else ""
            if not _alternate(turns):
                files.left_out[_NOT_ALTERNATING] += 1
                continue
            functions = [tool["function"] for tool in one.tools or ()]
            tools = json.dumps(functions, ensure_ascii=False) if functions else ""
            files.write(one.split, {"conversations": turns, "system": system, "tools": tools})
    write_json(folder / "dataset_info.json", {_name(n): _described(n) for n in files.counts})
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_readme(source, files.counts), encoding="utf-8")
    return files.written


def _call_text(name: str, arguments: dict[str, Any]) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def _alternate(turns: list[Turn]) -> bool:
    """Whether turns ask and answer by turns, and end with an answer."""
    pairs = itertools.zip_longest(turns[::2], turns[1::2])
    return all(
        two is not None and one["from"] in _ASKING and two["from"] in _ANSWERING
        for one, two in pairs
    )


def _name(split: str) -> str:
    return f"ste_ray_{split}"


def _described(split: str) -> dict[str, Any]:
    """Return what ``dataset_info.json`` says of a split's file."""
    return {
        "file_name": f"{split}.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": _ROLES["user"],
            "assistant_tag": _ROLES["assistant"],
            "observation_tag": _ROLES["tool"],
            "function_tag": _ROLES["call"],
            "system_tag": _ROLES["system"],
        },
    }


def _readme(source: ExportSource, counts: dict[str, int]) -> str:
    names = ", ".join(f"`{_name(split)}`" for split in counts)
    return (
        f"Tool calls prepared by ste-ray{source.public_origin}, as data sets for LLaMA-Factory.\n\n"
        "Give a training `dataset_dir: PATH-OF-THIS-FOLDER` and, as `dataset` and `eval_dataset`,\n"
        f"names of data sets: {names}. The `template` decides how calls are written;\n"
        "take that of the model. Tools go by names of letters, digits, `_` and `-`;\n"
        "`tool_names.json` holds the names that they stand for.\n\n"
        f"Tried with LLaMA-Factory {TRIED}.\n"
    )
