"""The steps of prepare, as functions from Arrow tables to Arrow tables.

Rows are ``{"tool", "kind", "record"}``: the kind says which record the JSON text holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from ste_ray.config import Config
from ste_ray.core.formatting import training_rows
from ste_ray.core.judging import judge_flow
from ste_ray.core.paraphrasing import Paraphrase, num_paraphrases, paraphrase_flow
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Example, Judgment, LedgerEntry, Record, Trial, Turn, fingerprint
from ste_ray.core.selecting import Split, group_id, normalise, select_call, split_of
from ste_ray.stages.asking import Workplace
from ste_ray.store.tables import records_from_rows

_SCHEMA = pa.schema([("tool", pa.string()), ("kind", pa.string()), ("record", pa.string())])


class Candidate(Record):
    """A trial with the call it is judged and trained by, on its way through the steps."""

    trial: Trial
    call: Turn
    num_paraphrases: int = 0
    paraphrases: tuple[Paraphrase, ...] = ()


def select_rows(batch: pa.Table) -> pa.Table:
    """Episodes to candidates, and ledger entries for the trials that cannot be used."""
    rows: list[tuple[str, str, Record]] = []
    trials = [trial for row in batch.column("trials").to_pylist() for trial in row]
    for trial in records_from_rows(trials, Trial):
        call = select_call(trial)
        if isinstance(call, str):
            rows.append((trial.tool, "ledger", _dropped(trial, "select", call)))
        else:
            rows.append((trial.tool, "candidate", Candidate(trial=trial, call=call)))
    return _table(rows)


async def judge_rows(batch: pa.Table, place: Workplace) -> pa.Table:
    """Ask the judge about each candidate; drop those without three times yes."""
    kept, candidates = _take_candidates(batch)
    judgments = await asyncio.gather(*(_judge(candidate, place) for candidate in candidates))
    for candidate, judgment in zip(candidates, judgments, strict=True):
        tool = candidate.trial.tool
        kept.append((tool, "judgments", judgment))
        if judgment.passed:
            kept.append((tool, "candidate", candidate))
        else:
            reason = _failed_question(judgment)
            kept.append((tool, "ledger", _dropped(candidate.trial, "filter", reason)))
    return _table(kept)


def plan_paraphrases(group: pa.Table, config: Config) -> pa.Table:
    """Within one tool: drop duplicate queries, and plan the paraphrases of the others."""
    kept, candidates = _take_candidates(group)
    seen: set[str] = set()
    unique: list[Candidate] = []
    candidates.sort(key=lambda one: (one.trial.episode_number, one.trial.trial_number))
    for candidate in candidates:
        text = normalise(candidate.trial.query)
        if text in seen:
            entry = _dropped(candidate.trial, "deduplicate", "the same query as an earlier one")
            kept.append((candidate.trial.tool, "ledger", entry))
        else:
            seen.add(text)
            unique.append(candidate)
    section = config.prepare
    count = num_paraphrases(len(unique), section.target_per_tool, section.max_paraphrases)
    for candidate in unique:
        # A test request stands for one person's words; more of the same would only cost.
        own = 0 if _split(candidate, config)[1] == "test" else count
        planned = candidate.model_copy(update={"num_paraphrases": own})
        kept.append((candidate.trial.tool, "candidate", planned))
    return _table(kept)


async def paraphrase_rows(batch: pa.Table, place: Workplace) -> pa.Table:
    """Ask for the planned paraphrases of each candidate."""
    kept, candidates = _take_candidates(batch)
    results = await asyncio.gather(*(_paraphrase(candidate, place) for candidate in candidates))
    for candidate, paraphrases in zip(candidates, results, strict=True):
        told = candidate.model_copy(update={"paraphrases": tuple(paraphrases)})
        kept.append((candidate.trial.tool, "candidate", told))
    return _table(kept)


def finish_tool(group: pa.Table, config: Config, prompts: PromptSet) -> pa.Table:
    """Within one tool: candidates to examples, training rows and the ledger of what was kept."""
    kept, candidates = _take_candidates(group)
    candidates.sort(key=lambda one: (one.trial.episode_number, one.trial.trial_number))
    seen = {normalise(candidate.trial.query) for candidate in candidates}
    for candidate in candidates:
        trial = candidate.trial
        wordings: list[tuple[str, str]] = [(trial.query, "explored")]
        kept.append((trial.tool, "ledger", _entry(trial, trial.query, "explored", "kept")))
        for paraphrase in candidate.paraphrases:
            reason = paraphrase.reason
            if paraphrase.kept and normalise(paraphrase.text) in seen:
                reason = "the same query as another one of this tool"
            fate = "dropped" if reason else "kept"
            entry = _entry(trial, paraphrase.text, "paraphrase", fate, "paraphrase", reason)
            kept.append((trial.tool, "ledger", entry))
            if not reason:
                seen.add(normalise(paraphrase.text))
                wordings.append((paraphrase.text, "paraphrase"))
        for query, origin in wordings:
            example = _example(candidate, query, origin, config)
            kept.append((trial.tool, "examples", example))
            if example.split != "test":
                for row in training_rows(example, prompts, config.prepare.tool_responses):
                    kept.append((trial.tool, "rows", row))
    return _table(kept)


async def _judge(candidate: Candidate, place: Workplace) -> Judgment:
    trial = candidate.trial
    temperature = place.config.prepare.judge_temperature
    spec = place.specs[trial.tool]
    flow = judge_flow(trial, candidate.call, spec, place.prompts, temperature)
    judgment: Judgment = await place.run_flow(flow, f"judge-{trial.trial_id}")
    return judgment


async def _paraphrase(candidate: Candidate, place: Workplace) -> list[Paraphrase]:
    if candidate.num_paraphrases == 0:
        return []
    query, arguments = candidate.trial.query, candidate.call.arguments_json
    flow = paraphrase_flow(query, arguments, candidate.num_paraphrases, place.prompts)
    scope = f"paraphrase-{candidate.trial.trial_id}"
    paraphrases: list[Paraphrase] = await place.run_flow(flow, scope)
    return paraphrases


def _example(candidate: Candidate, query: str, origin: str, config: Config) -> Example:
    trial, call = candidate.trial, candidate.call
    group, split = _split(candidate, config)
    return Example.model_validate(
        {
            "example_id": fingerprint("example", trial.trial_id, query),
            "group_id": group,
            "trial_id": trial.trial_id,
            "tool": trial.tool,
            "query": query,
            "origin": origin,
            "arguments_json": call.arguments_json,
            "observation": call.observation,
            "final_answer": trial.final_answer,
            "split": split,
        }
    )


def _split(candidate: Candidate, config: Config) -> tuple[str, Split]:
    """Return the candidate's group and the split the group belongs to."""
    trial, section = candidate.trial, config.prepare
    group = group_id(trial.tool, trial.query, candidate.call.arguments_json, section.group_by)
    return group, split_of(group, config.seed, section.validation_fraction, section.test_fraction)


def _failed_question(judgment: Judgment) -> str:
    verdicts = {
        "informative": judgment.informative,
        "faithful": judgment.faithful,
        "appropriate": judgment.appropriate,
    }
    if "unparsable" in verdicts.values():
        return "unparsable verdict"
    return "not " + ", not ".join(name for name, verdict in verdicts.items() if verdict == "no")


def _dropped(trial: Trial, step: str, reason: str) -> LedgerEntry:
    return _entry(trial, trial.query, "explored", "dropped", step, reason)


def _entry(
    trial: Trial, query: str, origin: str, fate: str, step: str = "split", reason: str = ""
) -> LedgerEntry:
    return LedgerEntry.model_validate(
        {
            "query_id": fingerprint("query", trial.trial_id, origin, query),
            "trial_id": trial.trial_id,
            "tool": trial.tool,
            "query": query,
            "origin": origin,
            "fate": fate,
            "step": step,
            "reason": reason,
        }
    )


def _take_candidates(
    table: pa.Table,
) -> tuple[list[tuple[str, str, Record | str]], list[Candidate]]:
    """Split rows into those passed on untouched (their JSON as it is) and the candidates."""
    others: list[tuple[str, str, Record | str]] = []
    candidates: list[Candidate] = []
    for row in table.to_pylist():
        if row["kind"] == "candidate":
            candidates.append(Candidate.model_validate_json(row["record"]))
        else:
            others.append((row["tool"], row["kind"], row["record"]))
    return others, candidates


def _table(rows: Iterable[tuple[str, str, Any]]) -> pa.Table:
    listed = [
        {
            "tool": tool,
            "kind": kind,
            "record": record if isinstance(record, str) else record.model_dump_json(),
        }
        for tool, kind, record in rows
    ]
    return pa.Table.from_pylist(listed, schema=_SCHEMA)
