"""What prepare does to one tool's trials: select, judge, deduplicate, paraphrase, split, format.

The unit is the tool: everything that must be compared (duplicates, the number of paraphrases) lies
within one, so no data has to be shuffled between workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq

from ste_ray.config import Config
from ste_ray.core.formatting import training_rows
from ste_ray.core.judging import judge_flow
from ste_ray.core.paraphrasing import Paraphrase, num_paraphrases, paraphrase_flow
from ste_ray.core.records import Example, Judgment, LedgerEntry, Record, Trial, Turn, fingerprint
from ste_ray.core.selecting import Split, group_id, normalise, select_call, split_of
from ste_ray.stages.asking import AskContext
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import records_from_rows

EPISODES_PATH = "explore/episodes"
_SCHEMA = pa.schema([("kind", pa.string()), ("record", pa.string())])


@dataclass
class Candidate:
    """A trial with the call it is judged and trained by."""

    trial: Trial
    call: Turn
    group: str
    split: Split
    paraphrases: Sequence[Paraphrase] = ()


class Outputs:
    """Collects the records of one tool, by the kind of output they belong to."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Record]] = []
        self._numbers = count()

    def add(self, kind: str, record: Record) -> None:
        """Add a record of ``examples``, ``rows``, ``judgments`` or ``ledger``."""
        self.rows.append((kind, record))

    def keep(self, trial: Trial, query: str, origin: str) -> None:
        """Note in the ledger that a query is used."""
        self._note(trial, query, origin, "kept", "split", "")

    def drop(
        self, trial: Trial, step: str, reason: str, query: str = "", origin: str = "explored"
    ) -> None:
        """Note in the ledger that a query is not used, at which step and why."""
        self._note(trial, query or trial.query, origin, "dropped", step, reason)

    def _note(
        self, trial: Trial, query: str, origin: str, fate: str, step: str, reason: str
    ) -> None:
        entry = LedgerEntry.model_validate(
            {
                # Numbered, because two dropped paraphrases may read the same.
                "query_id": fingerprint("query", trial.trial_id, query, next(self._numbers)),
                "trial_id": trial.trial_id,
                "tool": trial.tool,
                "query": query,
                "origin": origin,
                "fate": fate,
                "step": step,
                "reason": reason,
            }
        )
        self.add("ledger", entry)


async def prepare_tools(batch: pa.Table, context: AskContext) -> pa.Table:
    """Prepare the tools named in the batch, side by side.

    Args:
        batch: one column, ``tool``.
        context: what asks the judge and the paraphraser.

    Returns:
        A table of ``kind`` (an output) and ``record`` (its JSON; Arrow would unite the keys of
        differing records).
    """
    names = batch.column("tool").to_pylist()
    trials = _read_trials(context.store, names)
    prepared = await asyncio.gather(*(_prepare_tool(trials[name], context) for name in names))
    rows = [row for outputs in prepared for row in outputs.rows]
    listed = [{"kind": kind, "record": record.model_dump_json()} for kind, record in rows]
    return pa.Table.from_pylist(listed, schema=_SCHEMA)


def _read_trials(store: RunStore, names: Sequence[str]) -> dict[str, list[Trial]]:
    table = pq.read_table(
        store.path(EPISODES_PATH),
        filesystem=store.filesystem,
        columns=["trials"],
        filters=[("tool", "in", list(names))],
    )
    trials: dict[str, list[Trial]] = {name: [] for name in names}
    rows = [row for trials_of_one in table.column("trials").to_pylist() for row in trials_of_one]
    for trial in records_from_rows(rows, Trial, EPISODES_PATH):
        trials[trial.tool].append(trial)
    for found in trials.values():
        found.sort(key=lambda trial: (trial.episode_number, trial.trial_number))
    return trials


async def _prepare_tool(trials: Sequence[Trial], context: AskContext) -> Outputs:
    outputs = Outputs()
    candidates = _select(trials, context.config, outputs)
    candidates = await _judge(candidates, context, outputs)
    candidates = _deduplicate(candidates, outputs)
    await _paraphrase(candidates, context)
    _format(candidates, context, outputs)
    return outputs


def _select(trials: Iterable[Trial], config: Config, outputs: Outputs) -> list[Candidate]:
    section, candidates = config.prepare, []
    for trial in trials:
        call = select_call(trial, section.simulated_observations == "keep")
        if isinstance(call, str):
            outputs.drop(trial, "select", call)
            continue
        group = group_id(trial.tool, trial.query, call.arguments_json, section.group_by)
        split = split_of(group, config.seed, section.validation_fraction, section.test_fraction)
        candidates.append(Candidate(trial, call, group, split))
    return candidates


async def _judge(
    candidates: Sequence[Candidate], context: AskContext, outputs: Outputs
) -> list[Candidate]:
    async def ask(candidate: Candidate) -> Judgment:
        trial = candidate.trial
        temperature = context.config.prepare.judge_temperature
        spec = context.specs[trial.tool]
        flow = judge_flow(trial, candidate.call, spec, context.prompts, temperature)
        judgment: Judgment = await context.run_flow(flow, f"judge-{trial.trial_id}")
        return judgment

    judgments = await asyncio.gather(*map(ask, candidates))
    passed = []
    for candidate, judgment in zip(candidates, judgments, strict=True):
        outputs.add("judgments", judgment)
        if judgment.passed:
            passed.append(candidate)
        else:
            outputs.drop(candidate.trial, "filter", _failed_questions(judgment))
    return passed


def _failed_questions(judgment: Judgment) -> str:
    verdicts = {
        "informative": judgment.informative,
        "faithful": judgment.faithful,
        "appropriate": judgment.appropriate,
    }
    if "unparsable" in verdicts.values():
        return "unparsable verdict"
    return "not " + ", not ".join(name for name, verdict in verdicts.items() if verdict == "no")


def _deduplicate(candidates: Iterable[Candidate], outputs: Outputs) -> list[Candidate]:
    unique: dict[str, Candidate] = {}
    for candidate in candidates:
        text = normalise(candidate.trial.query)
        if text in unique:
            outputs.drop(candidate.trial, "deduplicate", "the same query as an earlier one")
        else:
            unique[text] = candidate
    return list(unique.values())


async def _paraphrase(candidates: Sequence[Candidate], context: AskContext) -> None:
    section = context.config.prepare
    wanted = num_paraphrases(len(candidates), section.target_per_tool, section.max_paraphrases)

    async def ask(candidate: Candidate) -> None:
        trial, arguments = candidate.trial, candidate.call.arguments_json
        flow = paraphrase_flow(trial.query, arguments, wanted, context.prompts)
        scope = f"paraphrase-{trial.trial_id}"
        candidate.paraphrases = await context.run_flow(flow, scope)

    if wanted:
        # A test request stands for one person's words; more of the same would only cost.
        await asyncio.gather(*(ask(one) for one in candidates if one.split != "test"))


def _format(candidates: Sequence[Candidate], context: AskContext, outputs: Outputs) -> None:
    seen = {normalise(candidate.trial.query) for candidate in candidates}
    for candidate in candidates:
        trial = candidate.trial
        _add_example(candidate, trial.query, "explored", context, outputs)
        for paraphrase in candidate.paraphrases:
            reason, text = paraphrase.reason, normalise(paraphrase.text)
            if paraphrase.kept and text in seen:
                reason = "the same query as another one of this tool"
            if reason:
                outputs.drop(trial, "paraphrase", reason, paraphrase.text, "paraphrase")
            else:
                seen.add(text)
                _add_example(candidate, paraphrase.text, "paraphrase", context, outputs)


def _add_example(
    candidate: Candidate, query: str, origin: str, context: AskContext, outputs: Outputs
) -> None:
    trial, call = candidate.trial, candidate.call
    example = Example.model_validate(
        {
            "example_id": fingerprint("example", trial.trial_id, query),
            "group_id": candidate.group,
            "trial_id": trial.trial_id,
            "tool": trial.tool,
            "query": query,
            "origin": origin,
            "arguments_json": call.arguments_json,
            "observation": call.observation,
            "final_answer": trial.final_answer,
            "split": candidate.split,
        }
    )
    outputs.keep(trial, query, origin)
    outputs.add("examples", example)
    if example.split != "test":
        responses = context.config.prepare.tool_responses
        for row in training_rows(example, context.prompts, responses):
            outputs.add("rows", row)
