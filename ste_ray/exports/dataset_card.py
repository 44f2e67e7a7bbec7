"""The card of an exported dataset: what is in it, and how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from ste_ray.core.texts.local_paths import public_name, without_paths
from ste_ray.exports.source import ExportSource

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SPLITS = ("train", "validation", "test")
_MAX_TOOLS = 200  # rows of the table of tools


def dataset_card(source: ExportSource, counts: Mapping[str, int], license_id: str) -> str:
    """Return the README of a dataset folder, with its YAML header.

    Args:
        source: the run.
        counts: rows by ``configuration/split``.
        license_id: one of the hub's identifiers.
    """
    counts = dict(sorted(counts.items(), key=_place))
    header = yaml.safe_dump(_header(counts, license_id), sort_keys=False, allow_unicode=True)
    sections = [_contents(source, counts), _making(source), _tools(source), _limits(source)]
    return f"---\n{header}---\n\n" + "\n\n".join(sections) + "\n"


def _place(item: tuple[str, int]) -> tuple[str, int]:
    name, _, split = item[0].partition("/")
    return name, _SPLITS.index(split)


def _header(counts: Mapping[str, int], license_id: str) -> dict[str, Any]:
    folders = {"default": "data", "rows": "rows"}
    configs: dict[str, list[dict[str, str]]] = {name: [] for name in folders}
    for key in counts:
        name, _, split = key.partition("/")
        configs[name].append({"split": split, "path": f"{folders[name]}/{split}-*.parquet"})
    total = sum(number for key, number in counts.items() if key.startswith("default/"))
    size = next((name for bound, name in _SIZES if total < bound), "n>1M")
    return {
        "license": license_id,
        "pretty_name": "Tool use by simulated trial and error",
        "task_categories": ["text-generation"],
        "tags": [
            "tool-use",
            "function-calling",
            "simulated-trial-and-error",
            "synthetic",
            "ste-ray",
        ],
        "size_categories": [size],
        "configs": [
            {"config_name": name, "data_files": files} for name, files in configs.items() if files
        ],
    }


def _contents(source: ExportSource, counts: Mapping[str, int]) -> str:
    rows = "".join(
        f"| {key.partition('/')[0]} | {key.partition('/')[2]} | {number:,} |\n"
        for key, number in counts.items()
    )
    return (
        "# Tool use by simulated trial and error\n\n"
        f"Requests for {len(source.tools)} tools, each with the call that answers it, what the "
        "tool returned and a final answer.\n\n"
        f"| configuration | split | rows |\n| --- | --- | --- |\n{rows}\n"
        "`default` holds the examples; `arguments` is a JSON object as text, `messages` the dialog "
        "in text form, with one token `<tool_NAME>` a tool. `rows` holds the training rows: a "
        "dialog and the response that is learned. All requests of a `group_id` are in one split."
        "\n\nLoad it with `datasets.load_dataset` on this folder; it needs `datasets>=2.14`, and "
        "was tried with datasets 5.2."
    )


def _making(source: ExportSource) -> str:
    manifest = source.manifest
    prepare = manifest["config"]["prepare"]
    made = datetime.fromtimestamp(manifest["started_at"], UTC).strftime("%Y-%m-%d")
    models = "".join(
        f"- {stage}: {', '.join(f'{role} {public_name(one.model)}' for role, one in by_role)}\n"
        for stage, by_role in ((stage, asked.items()) for stage, asked in source.models.items())
    )
    judged = "a judge asked three questions of each trial" if prepare["judge"] else "no judge"
    settings = {
        "seed": manifest["seed"],
        "prompts": manifest["inputs"].get("prompts", ""),
        "filter": judged,
        "near duplicates": prepare["near_duplicates"],
        "paraphrases": f"up to {prepare['max_paraphrases']} each, "
        f"about {prepare['target_per_tool']} examples a tool",
        "groups": f"by {prepare['group_by']}",
    }
    listed = "".join(f"- {name}: {value}\n" for name, value in settings.items())
    return (
        "## How it was made\n\n"
        f"Made on {made} by ste-ray {manifest['code_version']}{source.public_origin}. "
        f"{_how(source)} The trials were filtered, freed of duplicates and paraphrased (simulated "
        "trial and error, Wang et al., 2024, arXiv:2403.04746).\n\nModels:\n\n"
        f"{models or '- none'}\n\nSettings:\n\n{listed}".rstrip()
    )


def _how(source: ExportSource) -> str:
    """Say who imagined the requests, and who answered for the tools."""
    explorer = source.models.get("explore", {}).get("explorer")
    if explorer is not None and explorer.is_script:
        who = (
            "A script, the scripted teacher that ships with ste-ray, and not a language model "
            "filled in requests for each tool, made the calls and wrote the answers."
        )
    elif explorer is not None:
        who = (
            f"The language model {public_name(explorer.model)} imagined requests for each tool, "
            "wrote the calls and answered."
        )
    else:
        who = "Requests, calls and answers were brought in from elsewhere, not explored."
    simulated = len(source.simulated)
    if explorer is None:
        tools = ""
    elif not simulated:
        tools = " The tools were really called."
    elif simulated < len(source.tools):
        tools = (
            f" {len(source.tools) - simulated} tools were really called; {simulated} were played "
            f"{_by_whom(source)} from their documentation."
        )
    else:
        tools = (
            f" No tool was called: they were played {_by_whom(source)} from their documentation."
        )
    return who + tools


def _by_whom(source: ExportSource) -> str:
    asked = source.models.get("explore", {}).get("tool_simulator")
    if asked is None:
        return "by a language model"
    return "by a script" if asked.is_script else f"by the language model {public_name(asked.model)}"


def _tools(source: ExportSource) -> str:
    splits: dict[str, Counter[str]] = {tool: Counter() for tool in source.tools}
    restraint = generated = 0
    for example in source.examples():
        if example.kind != "explicit":
            generated += 1
        elif example.needs_call:
            splits.setdefault(example.tool, Counter())[example.split] += 1
        else:
            restraint += 1
    rows = "".join(
        f"| {_cell(tool)} | {_cell(source.spec(tool).description)} | {found['train']} | "
        f"{found['validation']} | {found['test']} |\n"
        for tool, found in list(splits.items())[:_MAX_TOOLS]
    )
    more = len(splits) - _MAX_TOOLS
    rest = f"\n{more} more tools are not listed here." if more > 0 else ""
    if restraint:
        rest += (
            f"\n{restraint:,} general requests of the split `test` need no call: their `tool` and "
            "`arguments` are empty. They were brought in from elsewhere."
        )
    if generated:
        rest += (
            f"\n{generated:,} further requests of the split `test` are of other kinds (`kind`): "
            "worded as people talk, indirect, without an argument, fit for no tool, or for only "
            "one of two that are easily confused, or after a call that failed."
        )
    return (
        "## Tools\n\n| tool | description | train | validation | test |\n"
        f"| --- | --- | --- | --- | --- |\n{rows}{rest}".rstrip()
    )


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= 120 else f"{line[:119]}…"


def _limits(source: ExportSource) -> str:
    notes = "".join(f"- {without_paths(note)}\n" for note in source.manifest["notes"])
    scripted = [stage for stage in source.models if source.is_scripted(stage)]
    authors = "a script and models" if scripted else "models"
    if scripted and len(scripted) == len(source.models):
        authors = "a script"
    observed = (
        "Observations are what the tools returned when they were called; services change."
        if len(source.simulated) < len(source.tools)
        else "Observations were made up in the tools' place; no tool was called."
    )
    return (
        "## What to know before use\n\n"
        f"- Requests, answers and verdicts were written by {authors} and may be wrong.\n"
        f"- {observed}\n"
        f"{notes}".rstrip()
    )
