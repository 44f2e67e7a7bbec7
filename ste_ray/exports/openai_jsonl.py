"""For OpenAI's fine-tuning: JSON lines of ``messages`` and ``tools``, arguments as JSON text.

Source of the form: platform.openai.com/docs/guides/supervised-fine-tuning (function calling).
"""

from __future__ import annotations

from pathlib import Path

from ste_ray.exports.chat import Offers, example_messages, name_map, row_messages
from ste_ray.exports.folder import LineFiles, write_json
from ste_ray.exports.source import ExportSource

_README = """Tool calls prepared by ste-ray, as conversations with tools for OpenAI's fine-tuning.

The files need no library to be read: one JSON object a line. To upload them, `openai>=1.0` has
`client.files.create(file=open("train.jsonl", "rb"), purpose="fine-tune")`; tried with openai 3.54.
Tools go by names of letters, digits, `_` and `-`; `tool_names.json` holds what they stand for.
"""
MIN_EXAMPLES = 10  # a fine-tuning job with fewer is refused


def write_openai(folder: Path, source: ExportSource, offers: Offers) -> dict[str, int]:
    """Write ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``; return rows by split."""
    with LineFiles(folder) as files:
        for example, tools in offers.beside(source.examples()):
            name = offers.name_of(example)
            messages = example_messages(example, name, "text", source.tool_responses)
            row = {"messages": messages, "tools": tools, "parallel_tool_calls": False}
            files.write(example.split, row)
        for other, tools in offers.beside(source.other_rows()):
            row = {"messages": row_messages(other, source)}
            if other.kind == "no_call":
                row |= {"tools": tools, "parallel_tool_calls": False}
            files.write(other.split, row)
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_README, encoding="utf-8")
    return files.counts
