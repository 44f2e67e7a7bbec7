"""A whole synthetic run, seeded: what the report reads, without running anything."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.core import layout
from ste_ray.core.asked_models import SCRIPT_NOTE
from ste_ray.core.preparing.ledger import DropReason, LedgerTotals, ToolTotals, few_examples
from ste_ray.core.records import (
    Episode,
    Example,
    Judgment,
    LedgerEntry,
    Message,
    Prediction,
    Score,
    Trial,
    Turn,
    canonical_json,
    fingerprint,
)
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.stages.evaluate.stage import summarise_settings

TOOLS = (
    "add_date", "airport", "airports_by_city", "amount_words_mxn_en", "amount_words_mxn_es",
    "bic_banks", "calendar", "card_check", "cron_next", "currency_info", "flight_distance",
    "get_today_date", "holiday_next", "iban_check", "isbn_convert", "language_tag",
    "number_to_words", "roman_encode", "tz_convert", "unit_convert",
)  # fmt: skip
ROLES = {"explore": ("explorer",), "prepare": ("judge", "paraphraser")}
SETTINGS = ("base/retrieved", "base/icl", "tuned/toolken")
_PLACES = ("Lisbon", "Oslo", "Nairobi", "Quito", "Hanoi", "Perth", "Tunis", "Riga")
_PHRASES = (
    "Could you work out {topic} for {place}, with {number} as the value?",
    "I need {topic}: {place}, {number}.",
    "What is {topic} if I start from {place} and use {number}?",
    "Please give me {topic} for {number} in {place} – it is for a trip in spring.",
)


class FakeReader:
    """A run in memory, as the report reads it."""

    def __init__(
        self,
        records: Mapping[str, Sequence[Any]] | None = None,
        files: Mapping[str, Any] | None = None,
        manifests: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.uri = "/srv/runs/spring-demo"
        self.tables, self.files, self.manifests = records or {}, files or {}, manifests or {}

    def records(self, folder: str, model: type[Any]) -> Sequence[Any]:
        found = self.tables.get(folder, ())
        assert all(isinstance(record, model) for record in found)
        return found

    def json(self, path: str) -> Any:
        return self.files.get(path)

    def manifest(self, stage: str) -> Mapping[str, Any] | None:
        return self.manifests.get(stage)


def specs() -> dict[str, ToolSpec]:
    properties = {"place": {"type": "string"}, "value": {"type": "integer"}}
    return {
        name: ToolSpec(
            name=name,
            description=f"Computes {name.replace('_', ' ')}.",
            parameters={"type": "object", "properties": {} if takes_nothing(name) else properties},
            executor={"kind": "python", "target": "m:f"},
        )
        for name in TOOLS
    }


def takes_nothing(tool: str) -> bool:
    return tool == "get_today_date"


def episodes(rng: random.Random, per_tool: int = 15, trials: int = 3) -> list[Episode]:
    return [
        _episode(rng, tool, index, number, trials)
        for index, tool in enumerate(TOOLS)
        for number in range(per_tool)
    ]


def _episode(rng: random.Random, tool: str, index: int, number: int, trials: int) -> Episode:
    own_id = fingerprint("episode", tool, number)
    skill = 0.35 + 0.03 * index
    return Episode(
        episode_id=own_id,
        tool=tool,
        tool_fingerprint=fingerprint(tool),
        episode_number=number,
        messages=(Message(role="user", content="Imagine a query."),),
        trials=tuple(_trial(rng, tool, own_id, number, n, skill + 0.15 * n) for n in range(trials)),
        models=("scripted-teacher",),
    )


def query_and_arguments(rng: random.Random, tool: str) -> tuple[str, str]:
    place, number = rng.choice(_PLACES), rng.randrange(10, 9999)
    topic = "the " + tool.replace("_", " ")
    query = rng.choice(_PHRASES).format(topic=topic, place=place, number=number)
    arguments = {} if takes_nothing(tool) else {"place": place, "value": number}
    return query, canonical_json(arguments)


def _trial(
    rng: random.Random, tool: str, episode_id: str, episode: int, number: int, skill: float
) -> Trial:
    query, arguments = query_and_arguments(rng, tool)
    turns: list[Turn] = []
    while len(turns) < 4 and rng.random() > skill:
        turns.append(_failed_turn(rng, tool, arguments, len(turns)))
    finished = len(turns) < 4
    if finished:
        turns += [_good_turn(tool, arguments, len(turns)), _final_turn(len(turns) + 1)]
    solved = rng.choices(("yes", "no", "unparsable"), (0.85, 0.12, 0.03))[0] if finished else "no"
    return Trial.model_validate(
        {
            "trial_id": fingerprint("trial", episode_id, number),
            "episode_id": episode_id,
            "tool": tool,
            "episode_number": episode,
            "trial_number": number,
            "query": query,
            "query_text": f"User Query: {query}",
            "memory_shown": episode * 3 + number,
            "turns": turns,
            "final_answer": turns[-1].final_answer,
            "outcome": "finished" if finished else "out_of_turns",
            "outcome_detail": "" if finished else "no final answer after 4 observations",
            "solved": solved,
            "reflection_text": "Yes, the answer has what was asked for." if solved == "yes" else
            "No. The tool kept refusing the value, so the request was not answered.",
            "prompt_tokens": 900 + 220 * len(turns),
            "completion_tokens": 45 * (len(turns) + 2),
        }
    )  # fmt: skip


def _failed_turn(rng: random.Random, tool: str, arguments: str, index: int) -> Turn:
    if rng.random() < 0.15:
        return Turn(
            reply_index=index,
            reply_text="Thought: I should look it up\nAction: "
            + tool
            + "\nAction Input: {place: x}",
            kind="parse_failure",
            failure_kind="bad_json",
            failure_message="the Action Input is no JSON: expected a string key at character 2",
            observation="The reply could not be read: the Action Input is no JSON.",
            observation_status="unparsed",
        )
    status = rng.choices(("error", "rejected", "timeout", "crashed"), (0.7, 0.22, 0.06, 0.02))[0]
    text = {
        "error": "ValueError: unknown unit 'miles'; one of 1 (km), 2 (mi), 3 (nmi)",
        "rejected": "The arguments do not fit the schema: 'value' must be an integer, not '12 k'.",
        "timeout": "The tool did not answer within 10 seconds.",
        "crashed": "The tool's process died.",
    }[status]
    return _call(tool, arguments, index, "I will try with what the query gives.", status, text)


def _good_turn(tool: str, arguments: str, index: int) -> Turn:
    text = json.dumps({"result": 4182, "unit": "km", "source": "table 3"})
    return _call(tool, arguments, index, "The error names the codes; I use 1 for km.", "ok", text)


def _call(
    tool: str, arguments: str, index: int, thought: str, status: Any, observation: str
) -> Turn:
    return Turn(
        reply_index=index,
        reply_text=f"Thought: {thought}\nAction: {tool}\nAction Input: {arguments}",
        kind="tool_call",
        thought=thought,
        tool=tool,
        arguments_text=arguments,
        arguments_json=arguments,
        observation=observation,
        observation_status=status,
        observation_chars=len(observation),
        seconds=0.01,
    )


def _final_turn(index: int) -> Turn:
    answer = "It comes to 4,182 km, according to table 3."
    return Turn(
        reply_index=index,
        reply_text=f"Thought: I now know the answer\nFinal Answer: {answer}",
        kind="final_answer",
        thought="I now know the answer",
        final_answer=answer,
    )


def prepared(
    rng: random.Random, explored: Sequence[Episode]
) -> tuple[list[Judgment], list[LedgerEntry], list[Example]]:
    judgments: list[Judgment] = []
    ledger: list[LedgerEntry] = []
    examples: list[Example] = []
    for trial in (trial for episode in explored for trial in episode.trials):
        passed = rng.random() < 0.8
        judgments.append(
            Judgment(
                trial_id=trial.trial_id,
                informative="yes" if passed else "no",
                faithful="yes",
                appropriate="yes",
                informative_reason="" if passed else "the reply only says that it failed",
                model="scripted-teacher",
            )
        )
        step, reason = _status(trial, passed)
        ledger.append(_entry(trial, "explored", trial.query, step, reason))
        if reason:
            continue
        for number in range(3 if trial.tool == "bic_banks" else 6):
            fault = rng.choices(("", "repeats an earlier query", "lacks a value"), (8, 1, 1))[0]
            ledger.append(
                _entry(trial, "paraphrase", f"{trial.query} ({number})", "paraphrase", fault)
            )
            if not fault:
                examples.append(_example(rng, trial, number))
    return judgments, ledger, examples  # fmt: skip


def _status(trial: Trial, passed: bool) -> tuple[str, str]:
    if trial.outcome != "finished":
        return "select", "out of turns: no final answer after 4 observations"
    if trial.solved != "yes":
        return "select", f"the explorer's reflection is {trial.solved}"
    return ("judge", "") if passed else ("judge", "not informative")


def _entry(trial: Trial, origin: Any, query: str, step: str, reason: str) -> LedgerEntry:
    return LedgerEntry(
        query_id=fingerprint(origin, trial.trial_id, query),
        trial_id=trial.trial_id,
        tool=trial.tool,
        query=query,
        origin=origin,
        status="dropped" if reason else "kept",
        step=step,
        reason=reason,
    )


def _example(rng: random.Random, trial: Trial, number: int) -> Example:
    return Example(
        example_id=fingerprint("example", trial.trial_id, number),
        group_id=trial.trial_id,
        trial_id=trial.trial_id,
        tool=trial.tool,
        query=trial.query,
        origin="paraphrase",
        arguments_json=trial.turns[-2].arguments_json,
        observation=trial.turns[-2].observation,
        final_answer=trial.final_answer,
        split=rng.choices(("train", "validation", "test"), (0.7, 0.1, 0.2))[0],  # type: ignore[arg-type]
    )


def predictions(rng: random.Random, per_tool: int = 15) -> list[Prediction]:
    rows = []
    for index, tool in enumerate(TOOLS):
        for number in range(per_tool):
            query, gold = query_and_arguments(rng, tool)
            for setting in SETTINGS:
                rows.append(
                    Prediction(
                        example_id=fingerprint("test", tool, number),
                        setting=setting,
                        tool=tool,
                        query=query,
                        arguments_json=gold,
                        candidates=TOOLS,
                        output_text=_output(rng, setting, tool, gold, index),
                    )
                )
    return rows


def _output(rng: random.Random, setting: str, tool: str, gold: str, index: int) -> str:
    """What a random base, a prompted base and a tuned model may write."""
    if setting == "base/retrieved":
        return "aoe 7 } nnn Action".join(rng.choice(_PLACES) for _ in range(6))
    skill = 0.2 if setting == "base/icl" else 0.8 + index / 100
    if rng.random() > skill:
        wrong = rng.choice((TOOLS[max(0, index - 1)], TOOLS[min(19, index + 1)], "look_up"))
        broken = ("I cannot help with that.", f"Action: {tool}\nAction Input: {{place: 3", "")
        return rng.choice((f"Action: {wrong}\nAction Input: {gold}", rng.choice(broken)))
    arguments = json.loads(gold)
    if arguments and rng.random() < 0.45:
        arguments["value"] += 1
    return f"Action: {tool}\nAction Input: {canonical_json(arguments)}"


def metrics(rng: random.Random, steps: int = 320) -> list[dict[str, Any]]:
    rows = []
    for step in range(1, steps + 1):
        loss = 0.28 + 5.2 * math.exp(-step / 60) + rng.uniform(-0.06, 0.06)
        rate = 3e-3 * min(1.0, step / 10) * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows.append(
            {
                "step": step,
                "num_steps": steps,
                "loss": loss,
                "learning_rate": rate,
                "grad_norm": 0.4 + loss * rng.uniform(0.5, 0.9),
                "useful_tokens_per_second": rng.uniform(5200, 6800),
                "validation_loss": loss + 0.09 if step % 40 == 0 else None,
            }
        )
    return rows


def manifests() -> dict[str, dict[str, Any]]:
    seconds = {"explore": 61.2, "prepare": 34.8, "retrieve": 5.1, "train": 241.7, "infer": 58.3,
               "evaluate": 3.9}  # fmt: skip
    script = {"model": "scripted-teacher", "kind": "script"}
    made = {}
    started = 1_772_445_600.0
    for stage, length in seconds.items():
        config: dict[str, Any] = {"seed": 0, stage: {"num_epochs": 2.0}}
        if stage == "train":
            config["train"]["model"] = {"base": "", "hidden_size": 128}
        made[stage] = {
            "stage": stage,
            "config": config,
            "config_fingerprint": fingerprint(stage),
            "inputs": {"explore": fingerprint("explore")} if stage != "explore" else {},
            "code_version": "0.1.0",
            "started_at": started,
            "seconds": length,
            "seed": 0,
            "counts": {"rows": 900, "tokens": {"prompt": 1_203_000, "completion": 80_400}},
            "notes": [SCRIPT_NOTE] if stage in ("explore", "prepare") else [],
            "models": {role: script for role in ROLES.get(stage, ())},
        }
        started += length
    return made


def summary_of(by_setting: Mapping[str, Sequence[Score]]) -> EvaluationSummary:
    return summarise_settings(by_setting, seed=0, num_resamples=200)


def totals(entries: Sequence[LedgerEntry], examples: Sequence[Example]) -> LedgerTotals:
    """What prepare writes of a ledger, counted anew."""
    tools: dict[str, Counter[str]] = {}
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for entry in entries:
        origin = "explored" if entry.origin == "explored" else "paraphrased"
        tools.setdefault(entry.tool, Counter()).update([origin, entry.status])
        if entry.status == "dropped":
            reasons.setdefault((entry.step, entry.reason), Counter())[origin] += 1
    for example in examples:
        tools.setdefault(example.tool, Counter())[example.split] += 1
    return LedgerTotals(
        tools=tuple(
            ToolTotals(
                tool=tool,
                warning=few_examples(tools[tool]["train"], tools[tool]["test"], tested=True),
                **tools[tool],
            )
            for tool in sorted(tools)
        ),
        reasons=tuple(
            DropReason(step=step, reason=reason, **counts)
            for (step, reason), counts in reasons.items()
        ),
    )


def tables() -> dict[str, Any]:
    """What the stages of a run store, by where it lies."""
    rng = random.Random(1)
    explored = episodes(rng)
    judgments, ledger, examples = prepared(rng, explored)
    predicted = predictions(rng)
    known = specs()
    return {
        layout.EPISODES: explored,
        layout.JUDGMENTS: judgments,
        layout.LEDGER: ledger,
        layout.EXAMPLES: examples,
        layout.PREDICTIONS: predicted,
        layout.SCORES: [score_prediction(one, known) for one in predicted],
    }
