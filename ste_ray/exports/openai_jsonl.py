"""For OpenAI's fine-tuning: JSON lines of ``messages`` and ``tools``, arguments as JSON text.

Source of the form: platform.openai.com/docs/guides/supervised-fine-tuning (function calling).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ste_ray.exports.chat import Offers, conversations, name_map
from ste_ray.exports.folder import LineFiles, Written, write_json
from ste_ray.exports.source import ExportSource

_README = """Tool calls prepared by ste-ray, as conversations with tools for OpenAI's fine-tuning.

The files need no library to be read: one JSON object a line. To upload them, `openai>=1.0` has
`client.files.create(file=open("train.jsonl", "rb"), purpose="fine-tune")`; tried with openai 3.54.
Tools go by names of letters, digits, `_` and `-`; `tool_names.json` holds what they stand for.
Calls that failed, before the one that mends them, have the `weight` 0: they are not trained on.
"""
MIN_EXAMPLES = 10  # a fine-tuning job with fewer is refused


def write_openai(folder: Path, source: ExportSource, offers: Offers) -> Written:
    """Write ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``; return rows by split."""
    with LineFiles(folder) as files:
        for one in conversations(source, offers, "text", files.left_out, weights=True):
            row: dict[str, Any] = {"messages": one.messages}
            if one.tools is not None:
                row |= {"tools": one.tools, "parallel_tool_calls": False}
            files.write(one.split, row)
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_README, encoding="utf-8")
    return files.written
