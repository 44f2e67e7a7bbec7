"""For OpenAI's fine-tuning: JSON lines of ``messages`` and ``tools``, arguments as JSON text.

Source of the form: platform.openai.com/docs/guides/supervised-fine-tuning (function calling).
"""

from __future__ import annotations

from pathlib import Path

from ste_ray.exports.chat import Offers, example_messages, name_map, row_messages
from ste_ray.exports.folder import LineFiles, write_json
from ste_ray.exports.source import ExportSource

MIN_EXAMPLES = 10  # a fine-tuning job with fewer is refused


def write_openai(folder: Path, source: ExportSource, offers: Offers) -> dict[str, int]:
    """Write ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``; return rows by split."""
    with LineFiles(folder) as files:
        for example in source.examples():
            name = offers.names.safe(example.tool)
            messages = example_messages(example, name, "text", source.tool_responses)
            tools = offers.of(example.example_id, example.tool)
            row = {"messages": messages, "tools": tools, "parallel_tool_calls": False}
            files.write(example.split, row)
        for other in source.other_rows():
            row = {"messages": row_messages(other, source)}
            if other.kind == "no_call":
                row |= {"tools": offers.of(other.row_id), "parallel_tool_calls": False}
            files.write(other.split, row)
    write_json(folder / "tool_names.json", name_map(offers, source))
    return files.counts
