"""For TRL's trainers: JSON lines of ``messages`` and ``tools``, arguments as objects.

``datasets.load_dataset(FOLDER)`` reads it; the README's ``dataset_info`` says that messages and
tools are JSON of any shape, so that arguments with differing keys are not filled up with nulls.
Source of the form: huggingface.co/docs/trl/dataset_formats (tool calling).
"""

from __future__ import annotations

from pathlib import Path

from ste_ray.exports.chat import Offers, example_messages, name_map, row_messages
from ste_ray.exports.folder import LineFiles, write_json
from ste_ray.exports.source import ExportSource

DATASETS = "datasets>=4.7"
TRIED = "datasets 5.2 and trl 1.16"


def write_trl(folder: Path, source: ExportSource, offers: Offers) -> dict[str, int]:
    """Write ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``; return rows by split."""
    with LineFiles(folder) as files:
        for example, tools in offers.beside(source.examples()):
            name = offers.name_of(example)
            messages = example_messages(example, name, "object", source.tool_responses)
            files.write(example.split, {"messages": messages, "tools": tools})
        for row, tools in offers.beside(source.other_rows()):
            files.write(row.split, {"messages": row_messages(row, source), "tools": tools})
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_readme(source, list(files.counts)), encoding="utf-8")
    return files.counts


def _readme(source: ExportSource, splits: list[str]) -> str:
    files = "".join(f"  - split: {name}\n    path: {name}.jsonl\n" for name in splits)
    return (
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        f"{files}dataset_info:\n  features:\n  - name: messages\n    list: json\n"
        "  - name: tools\n    list: json\n---\n\n"
        f"Tool calls prepared by ste-ray{source.public_origin}, as conversations with tools for\n"
        "TRL.\n"
        "Load it with `datasets.load_dataset` on this folder. Tools go by names of letters,\n"
        "digits, `_` and `-`; `tool_names.json` holds the names that they stand for.\n\n"
        f"Needs `{DATASETS}`, the first with the `json` features above, and a TRL that takes\n"
        f"`tools`; tried with {TRIED}.\n"
    )
