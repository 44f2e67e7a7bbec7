"""Preference pairs for TRL: the call that failed, and the call of the same trial that mended it.

A trial of which an example was made ends with a call that worked. Where an earlier call of it was
answered with an error, or refused because its arguments did not fit the schema, the request is
asked with that call ``rejected`` and the later one ``chosen``. Paraphrases of the request have the
pairs of their trial too.
Source of the form: huggingface.co/docs/trl/dataset_formats (preference, with tools).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ste_ray.core.preparing.selecting import select_call
from ste_ray.core.records import Episode, Trial, Turn
from ste_ray.errors import StageInputError
from ste_ray.exports.chat import Offers, call_message, name_map
from ste_ray.exports.folder import LineFiles, Written, write_json
from ste_ray.exports.source import ExportSource
from ste_ray.exports.trl import DATASETS, TRIED, features_header

# The call itself was at fault; time-outs and lost processes are not its doing.
_FAILED = frozenset({"error", "rejected"})


def write_dpo(folder: Path, source: ExportSource, offers: Offers) -> Written:
    """Write a file for each split that has pairs; return pairs by split.

    Raises:
        StageInputError: the run holds no pair.
    """
    mended = mended_calls(source.episodes())
    # Tests of other kinds are made of requests that are examples themselves.
    called = (one for one in source.examples() if one.needs_call and one.kind == "explicit")
    with LineFiles(folder) as files:
        for example, tools in offers.beside(called):
            chosen, failed = mended.get(example.trial_id, ("", []))
            if chosen != example.arguments_json:
                continue
            name = offers.name_of(example)
            for arguments in failed:
                row = {
                    "prompt": [{"role": "user", "content": example.query}],
                    "chosen": [call_message(name, json.loads(chosen))],
                    "rejected": [call_message(name, json.loads(arguments))],
                    "tools": tools,
                }
                files.write(example.split, row)
    if not files.counts:
        raise StageInputError(
            f"{source.run!r} holds no pair: no trial of its prepared data mended a call of its own "
            "that had failed; explore more, or train on the calls alone ('ste-ray export trl')"
        )
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_readme(source, list(files.counts)), encoding="utf-8")
    return files.written


def mended_calls(episodes: Iterable[Episode]) -> dict[str, tuple[str, list[str]]]:
    """Return, by trial, the arguments that worked in the end and those that had failed before.

    Only trials that have both are there, each failed call once. Arguments are JSON text.
    """
    found = {}
    for episode in episodes:
        for trial in episode.trials:
            right = select_call(trial)
            if isinstance(right, str) or right.observation_status != "ok":
                continue
            failed = _failed_before(trial, right)
            if failed:
                found[trial.trial_id] = (right.arguments_json, failed)
    return found


def _failed_before(trial: Trial, right: Turn) -> list[str]:
    """Return the arguments of the calls before ``right`` that failed, other ones than its own."""
    before = trial.turns[: trial.turns.index(right)]
    failed = dict.fromkeys(
        turn.arguments_json
        for turn in before
        if turn.kind == "tool_call"
        and turn.tool == trial.tool
        and turn.observation_status in _FAILED
        and turn.arguments_json != right.arguments_json
        and _is_object(turn.arguments_json)
    )
    return list(failed)


def _is_object(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _readme(source: ExportSource, splits: list[str]) -> str:
    return features_header(splits, ("prompt", "chosen", "rejected", "tools")) + (
        f"Pairs of calls prepared by ste-ray{source.public_origin}, for TRL's trainers of\n"
        "preferences: `rejected` failed when it was made, `chosen` worked for the same request.\n"
        "Load them with `datasets.load_dataset` on this folder, and give them to `DPOTrainer`.\n"
        "Tools go by names of letters, digits, `_` and `-`; `tool_names.json` holds the names\n"
        "that they stand for.\n\n"
        f"Needs `{DATASETS}`, the first with the `json` features above, and a TRL that takes\n"
        f"`tools`; tried with {TRIED}.\n"
    )
