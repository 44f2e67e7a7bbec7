"""Exploration by a model on this machine, by text and by native tool calling."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from native_runs import Plan, ste_ray
from tables import Row

from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.core import layout
from ste_ray.core.records import Episode, Trial
from ste_ray.core.replies.verdicts import parse_yes_no
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import read_records
from ste_ray.training.tokenizer import load_tokenizer

_TOOLS = ("add_date", "roman_encode", "unit_convert", "number_to_words")
_FILES = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")


def explored(plan: Plan) -> tuple[str, list[Row]]:
    """Explore a few tools in both forms; return a title and the table."""
    folder = _with_tools(plan)
    trials = {form: _trials(plan, folder, form) for form in ("text", "native")}
    rows = [
        Row(name, " → ".join(_share(trials[form], test) for form in ("text", "native")))
        for name, test in _TESTS.items()
    ]
    title = (
        f"Exploration by {plan.model.name} through `llm.local_model`: text → native, of"
        f" {len(trials['text'])} and {len(trials['native'])} trials with {_num_tools(plan)} tools"
    )
    return title, rows


def _with_tools(plan: Plan) -> Path:
    """Return the folder of the model with a chat template that knows tools.

    Both forms are asked of the same folder: without tools the template writes what it wrote.
    """
    folder = plan.runs / f"bench-native-explorer-{_mark(plan)}"
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in _FILES:
        for file in plan.model.glob(pattern):
            (folder / file.name).unlink(missing_ok=True)
            (folder / file.name).symlink_to(file.resolve())
    tokenizer = load_tokenizer(str(plan.model))
    give_tools(tokenizer)
    tokenizer.save_pretrained(folder)
    return folder


def _mark(plan: Plan) -> str:
    """Return what tells the model apart from others, in names of folders."""
    return hashlib.sha256(str(plan.model.resolve()).encode()).hexdigest()[:8]


def _num_tools(plan: Plan) -> int:
    return 1 if plan.quick else len(_TOOLS)


def _trials(plan: Plan, folder: Path, form: str) -> list[Trial]:
    run = plan.runs / f"bench-native-explored-{_mark(plan)}-{form}"
    tools = ", ".join(_TOOLS[: _num_tools(plan)])
    ste_ray(
        *("explore", "--run", str(run), f"seed={plan.seeds[0]}", f"tools.include=[{tools}]"),
        f"llm.local_model={json.dumps(str(folder))}",
        "llm.request_timeout_seconds=600",
        "llm.patience_seconds=3600",
        f"explore.protocol={form}",
        f"explore.episodes_per_tool={1 if plan.quick else 4}",
        f"explore.trials_per_episode={1 if plan.quick else 3}",
        f"explore.max_tokens={24 if plan.quick else 200}",
        "explore.num_explorers=1",
        "explore.stop_when_alike=0",  # that all come to nothing is a result here
    )
    episodes = read_records(open_store(str(run)), layout.EPISODES, Episode)
    return [trial for episode in episodes for trial in episode.trials]


def _calls(trial: Trial) -> bool:
    return any(turn.kind == "tool_call" for turn in trial.turns)


def _answered(trial: Trial) -> bool:
    return any(turn.observation_status == "ok" for turn in trial.turns)


_TESTS: dict[str, Callable[[Trial], bool]] = {
    "imagined a request": lambda trial: trial.outcome != "no_query",
    "wrote a call that can be read": _calls,
    "called a tool that answered": _answered,
    "gave a final answer": lambda trial: trial.outcome == "finished",
    "ended well: a final answer after a tool's": lambda trial: (
        trial.outcome == "finished" and _answered(trial)
    ),
    "counts itself as solved": lambda trial: parse_yes_no(trial.reflection_text) == "yes",
    "with an oddity of the server or the reply": lambda trial: bool(trial.oddities),
}


def _share(trials: Sequence[Trial], test: Callable[[Trial], bool]) -> str:
    number = sum(map(test, trials))
    return f"{number} of {len(trials)} ({100 * number / len(trials):.0f} %)"
