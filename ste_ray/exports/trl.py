"""For TRL's trainers: JSON lines of ``messages`` and ``tools``, arguments as objects.

``datasets.load_dataset(FOLDER)`` reads it; the README's ``dataset_info`` says that messages and
tools are JSON of any shape, so that arguments with differing keys are not filled up with nulls.
Source of the form: huggingface.co/docs/trl/dataset_formats (tool calling).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ste_ray.exports.chat import Offers, conversations, name_map
from ste_ray.exports.folder import LineFiles, Written, write_json
from ste_ray.exports.source import ExportSource

DATASETS = "datasets>=4.7"
TRIED = "datasets 5.2 and trl 1.16"


def write_trl(folder: Path, source: ExportSource, offers: Offers) -> Written:
    """Write ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``; return rows by split."""
    with LineFiles(folder) as files:
        for one in conversations(source, offers, "object", files.left_out):
            files.write(one.split, {"messages": one.messages, "tools": one.tools or []})
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_readme(source, list(files.counts)), encoding="utf-8")
    return files.written


def features_header(splits: Iterable[str], columns: Iterable[str]) -> str:
    """Return the head of a README by which ``datasets`` reads columns as JSON of any shape."""
    files = "".join(f"  - split: {name}\n    path: {name}.jsonl\n" for name in splits)
    features = "".join(f"  - name: {name}\n    list: json\n" for name in columns)
    return (
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        f"{files}dataset_info:\n  features:\n{features}---\n\n"
    )


def _readme(source: ExportSource, splits: list[str]) -> str:
    return features_header(splits, ("messages", "tools")) + (
        f"Tool calls prepared by ste-ray{source.public_origin}, as conversations with tools for\n"
        "TRL.\n"
        "Load it with `datasets.load_dataset` on this folder. Tools go by names of letters,\n"
        "digits, `_` and `-`; `tool_names.json` holds the names that they stand for.\n\n"
        f"Needs `{DATASETS}`, the first with the `json` features above, and a TRL that takes\n"
        f"`tools`; tried with {TRIED}.\n"
    )
