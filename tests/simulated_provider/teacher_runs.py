"""Runs the teacher through the real flows against tools that are called in this process."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ste_ray.core.effects import AskModel, CallTool, Flow, ModelReply, ToolResult
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.exploring.memory import remember
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode, canonical_json
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.simulated_provider.teacher.script import reply
from ste_ray.tools.checks.arguments import ArgumentCheck

ROOT = Path(__file__).parents[2]
PROMPTS = PromptSet({path.stem: path.read_text() for path in (ROOT / "prompts").glob("*.txt")})
# The tools that the teacher was tuned on, as is the demo; its figures hold for these.
TUNED = (
    "add_date", "date_difference", "calendar_convert", "read_date_us", "read_date_eu",
    "iban_check", "iban_build", "isbn_convert", "vat_check", "card_check", "check_digit",
    "airport", "airports_by_city", "flight_distance", "timezone_at", "convert_time",
    "unit_convert", "number_to_words", "amount_words_mxn_es", "amount_words_mxn_en",
    "roman_encode",
)  # fmt: skip
Execute = Callable[[str, dict[str, Any]], ToolResult]


def ask(request: AskModel, seed: int) -> ModelReply:
    messages = [message.model_dump() for message in request.messages]
    return ModelReply(text=reply(messages, seed), model="scripted-teacher")


def play(flow: Flow[Any], execute: Execute, seed: int) -> Any:
    """Drive a flow with the teacher as its model."""
    answer: Any = None
    while True:
        try:
            request = flow.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(request, CallTool):
            answer = execute(request.tool, json.loads(request.arguments_json))
        else:
            answer = ask(request, seed)


def executor(specs: Iterable[ToolSpec], functions: dict[str, Callable[..., Any]]) -> Execute:
    checks = {spec.name: ArgumentCheck(spec.parameters) for spec in specs}

    def execute(tool: str, arguments: dict[str, Any]) -> ToolResult:
        refusal = checks[tool].refusal(canonical_json(arguments))
        if refusal is not None:
            return ToolResult(status="rejected", text=refusal)
        try:
            value = functions[tool](**arguments)
        except Exception as error:
            own = type(error).__name__ == "ToolError"
            text = str(error) if own else f"{type(error).__name__}: {error}"
            return ToolResult(status="error", text=text)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return ToolResult(status="ok", text=text)

    return execute


def function_of(spec: ToolSpec) -> Callable[..., Any]:
    module, _, name = spec.executor.target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def builtin_specs() -> list[ToolSpec]:
    files = sorted((ROOT / "tool_metadata" / "builtin").glob("*.yaml"))
    listed = [item for file in files for item in yaml.safe_load(file.read_text())["tools"]]
    specs = {item["name"]: ToolSpec.model_validate(item) for item in listed}
    return [specs[name] for name in TUNED]


def explore(
    specs: Iterable[ToolSpec],
    execute: Execute,
    *,
    seed: int = 0,
    episodes: int = 2,
    trials: int = 4,
    settings: TrialSettings | None = None,
) -> list[Episode]:
    """Explore each tool as the explore stage does, with the long-term memory between episodes."""
    done = []
    for spec in specs:
        own: list[Episode] = []
        for number in range(episodes):
            flow = episode_flow(
                spec,
                PROMPTS,
                settings or TrialSettings(),
                number=number,
                num_trials=trials,
                memory=remember(own),
                config_fingerprint="test",
            )
            own.append(play(flow, execute, seed))
        done += own
    return done


@dataclass(frozen=True)
class Figures:
    """What an exploration came to, over all trials."""

    num_trials: int
    solved: float
    with_error: float  # trials with at least one failed call, solved in the end
    distinct_queries: float
    distinct_arguments: float


def measure(episodes: Iterable[Episode]) -> Figures:
    trials = [trial for episode in episodes for trial in episode.trials]
    solved = [trial for trial in trials if trial.solved == "yes"]
    bumpy = [trial for trial in solved if had_error(trial)]
    calls = [
        (trial.tool, trial.turns[-2].arguments_json) for trial in solved if len(trial.turns) > 1
    ]
    return Figures(
        num_trials=len(trials),
        solved=len(solved) / len(trials),
        with_error=len(bumpy) / len(trials),
        distinct_queries=len({trial.query.casefold() for trial in trials}) / len(trials),
        distinct_arguments=len(set(calls)) / max(len(calls), 1),
    )


def had_error(trial: Any) -> bool:
    return any(turn.observation_status in ("error", "rejected") for turn in trial.turns)
