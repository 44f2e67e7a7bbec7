"""Prepares one unit: select, filter, deduplicate, paraphrase, split and format.

Rows stream through: the trials are read a few hundred at a time, candidates wait in a spool on the
local disk, results leave for files. What is held in memory a trial is a hash and a fate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from ste_ray.config import Config, PrepareConfig
from ste_ray.core.effects import Flow
from ste_ray.core.formatting import absent_tool_row, training_rows
from ste_ray.core.judging import failed_questions, judge_flow
from ste_ray.core.paraphrasing import Paraphrase, num_paraphrases, paraphrase_flow
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import (
    Example,
    Judgment,
    LedgerEntry,
    ToolSpec,
    Trial,
    Turn,
    text_fingerprint,
)
from ste_ray.core.selecting import group_id, normalise, select_call, split_of
from ste_ray.runtime.windows import in_order
from ste_ray.stages.preparation.duplicates import duplicate_reasons
from ste_ray.stages.preparation.outputs import Outputs
from ste_ray.stages.preparation.spool import Candidate, Spool
from ste_ray.store.tables import RefusedRow, iter_results
from ste_ray.tools.arguments import ArgumentCheck

RunFlow = Callable[[Flow[Any], str], Awaitable[Any]]
_WAITING_PER_CALL = 4  # flows begun for each request that may be in flight


@dataclass(frozen=True)
class Workshop:
    """What a unit is prepared with.

    Attributes:
        config: the whole configuration.
        specs: the run's tools by name.
        prompts: the prompt templates.
        run_flow: drives a flow under a scope of the unit's journal; None: no model is asked.
    """

    config: Config
    specs: Mapping[str, ToolSpec]
    prompts: PromptSet
    run_flow: RunFlow | None


async def prepare_unit(
    tables: Iterator[pa.Table], workshop: Workshop, spool: Spool, outputs: Outputs
) -> None:
    """Prepare the trials of whole tools.

    Args:
        tables: columns ``tool`` and ``trials``, those of a tool one after the other.
        workshop: what it is done with.
        spool: empty.
        outputs: where the results go; to be uploaded by the caller.
    """
    section = workshop.config.prepare
    async for trial, call, judgment in _judged(_selected(tables, workshop, outputs), workshop):
        if judgment is not None:
            outputs.add_judgment(judgment)
            if not judgment.passed:
                outputs.drop(_explored(trial, "dropped", "filter", failed_questions(judgment)))
                continue
        spool.add(_candidate(trial, call, workshop.config))
    spool.finish()
    reasons = duplicate_reasons(spool, section)
    texts = _kept_texts(spool, reasons)
    numbers = {tool: len(found) for tool, found in texts.items()}  # no text is there twice
    formatter = _Formatter(workshop, outputs, texts)
    kept = _kept(spool, reasons, outputs)
    async for candidate, paraphrases in _paraphrased(kept, numbers, workshop):
        formatter.add(candidate, paraphrases)


def _selected(
    tables: Iterator[pa.Table], workshop: Workshop, outputs: Outputs
) -> Iterator[tuple[Trial, Turn]]:
    """Yield the trials that hold an example, with its call; the others go into the ledger."""
    section = workshop.config.prepare
    checks: dict[str, ArgumentCheck] = {}
    ids: set[int] = set()
    for table in tables:
        for tool, found in _trials(table):
            if isinstance(found, RefusedRow):
                outputs.drop(_unreadable(tool, found))
                continue
            call = select_call(
                found,
                keep_simulated=section.simulated_observations == "keep",
                keep_errors=section.error_observations == "keep",
            )
            if not isinstance(call, str) and section.invalid_arguments == "drop":
                if tool not in checks:
                    checks = {tool: ArgumentCheck(workshop.specs[tool].parameters)}
                call = _if_valid(call, checks[tool])
            key = hash(found.trial_id)
            if not isinstance(call, str) and key in ids:
                call = "another trial has the same id"
            if isinstance(call, str):
                outputs.drop(_explored(found, "dropped", "select", call))
            else:
                ids.add(key)
                yield found, call


def _trials(table: pa.Table) -> Iterator[tuple[str, Trial | RefusedRow]]:
    column = table.column("trials").combine_chunks()
    parents = pc.list_parent_indices(column).to_pylist()
    tools = table.column("tool").to_pylist()
    trials = pa.Table.from_struct_array(column.flatten())
    for parent, found in zip(parents, iter_results(trials, Trial, "trials"), strict=True):
        tool = tools[parent]
        if isinstance(found, Trial) and found.tool != tool:
            found = RefusedRow("tool", f"{found.tool!r} stands among the trials of {tool!r}", {})
        yield tool, found


def _if_valid(call: Turn, check: ArgumentCheck) -> Turn | str:
    refusal = check.refusal(call.arguments_json)
    return f"the arguments do not fit the schema: {refusal}" if refusal else call


def _unreadable(tool: str, refused: RefusedRow) -> LedgerEntry:
    trial_id, query = refused.row.get("trial_id"), refused.row.get("query")
    trial_id = trial_id if isinstance(trial_id, str) else "unreadable"
    return LedgerEntry(
        query_id=f"{trial_id}-0",
        trial_id=trial_id,
        tool=tool,
        query=query if isinstance(query, str) else "",
        origin="explored",
        fate="dropped",
        step="select",
        reason=f"not readable: column {refused.column!r}: {refused.reason}",
    )


async def _judged(
    selected: Iterator[tuple[Trial, Turn]], workshop: Workshop
) -> AsyncIterator[tuple[Trial, Turn, Judgment | None]]:
    run_flow, config = workshop.run_flow, workshop.config
    if run_flow is None or not config.prepare.judge:
        for trial, call in selected:
            yield trial, call, None
        return

    async def ask(item: tuple[Trial, Turn]) -> Judgment:
        trial, call = item
        spec, temperature = workshop.specs[trial.tool], config.prepare.judge_temperature
        flow = judge_flow(trial, call, spec, workshop.prompts, temperature)
        judgment: Judgment = await run_flow(flow, f"judge-{trial.trial_id}")
        return judgment

    async for (trial, call), judgment in in_order(ask, selected, _window(config)):
        yield trial, call, judgment


def _candidate(trial: Trial, call: Turn, config: Config) -> Candidate:
    section = config.prepare
    group = group_id(trial, call.arguments_json, section.group_by)
    return Candidate(
        tool=trial.tool,
        trial_id=trial.trial_id,
        query=trial.query,
        arguments_json=call.arguments_json,
        observation=call.observation,
        final_answer=trial.final_answer,
        group_id=group,
        split=split_of(group, config.seed, section.validation_fraction, section.test_fraction),
    )


def _kept_texts(spool: Spool, reasons: list[str]) -> dict[str, set[int]]:
    """Return, for each tool, the hashes of the queries that are kept."""
    texts: dict[str, set[int]] = {}
    for tool, text, reason in zip(spool.tools, spool.texts, reasons, strict=True):
        if not reason:
            texts.setdefault(tool, set()).add(text)
    return texts


def _kept(spool: Spool, reasons: list[str], outputs: Outputs) -> Iterator[Candidate]:
    for candidate, reason in zip(spool, reasons, strict=True):
        if reason:
            outputs.drop(_entry(candidate, 0, candidate.query, "dropped", "deduplicate", reason))
        else:
            yield candidate


async def _paraphrased(
    candidates: Iterator[Candidate], numbers: Mapping[str, int], workshop: Workshop
) -> AsyncIterator[tuple[Candidate, list[Paraphrase]]]:
    run_flow, section = workshop.run_flow, workshop.config.prepare

    def wanted(candidate: Candidate) -> int:
        if candidate.split == "test" and not section.paraphrase_test:
            return 0
        if candidate.tool in section.no_call.held_out_tools:
            return 0
        number = numbers[candidate.tool]
        return num_paraphrases(number, section.target_per_tool, section.max_paraphrases)

    if run_flow is None or not section.max_paraphrases:
        for candidate in candidates:
            yield candidate, []
        return

    async def ask(candidate: Candidate) -> list[Paraphrase]:
        count = wanted(candidate)
        if not count:
            return []
        query, arguments = candidate.query, candidate.arguments_json
        flow = paraphrase_flow(query, arguments, count, workshop.prompts)
        found: list[Paraphrase] = await run_flow(flow, f"paraphrase-{candidate.trial_id}")
        return found

    async for candidate, found in in_order(ask, candidates, _window(workshop.config)):
        yield candidate, found


class _Formatter:
    """Makes examples and training rows of candidates and their paraphrases."""

    def __init__(self, workshop: Workshop, outputs: Outputs, texts: Mapping[str, set[int]]) -> None:
        self._workshop, self._outputs = workshop, outputs
        self._section: PrepareConfig = workshop.config.prepare
        self._texts = texts  # hashes of the tool's queries, and of the wordings that are added

    def add(self, candidate: Candidate, paraphrases: list[Paraphrase]) -> None:
        """Write what a candidate becomes."""
        if candidate.tool in self._section.no_call.held_out_tools:
            self._hold_out(candidate)
            return
        self._keep(candidate, 0, candidate.query)
        texts = self._texts[candidate.tool]
        for number, paraphrase in enumerate(paraphrases, start=1):
            reason, key = paraphrase.reason, hash(normalise(paraphrase.text))
            if paraphrase.kept and key in texts:
                reason = "the same query as another one of this tool"
            if reason:
                entry = _entry(candidate, number, paraphrase.text, "dropped", "paraphrase", reason)
                self._outputs.drop(entry)
            else:
                texts.add(key)
                self._keep(candidate, number, paraphrase.text)

    def _hold_out(self, candidate: Candidate) -> None:
        """Teach that the tool is not there; nothing of it is tested."""
        split: Literal["train", "validation"] = (
            "validation" if candidate.split == "validation" else "train"
        )
        row = absent_tool_row(candidate.query, candidate.tool, split, self._workshop.prompts)
        self._outputs.add_row(row)
        self._outputs.keep(_entry(candidate, 0, candidate.query, "kept", "no call"))

    def _keep(self, candidate: Candidate, number: int, query: str) -> None:
        example = Example(
            example_id=text_fingerprint(candidate.trial_id, query),
            group_id=candidate.group_id,
            trial_id=candidate.trial_id,
            tool=candidate.tool,
            query=query,
            origin="paraphrase" if number else "explored",
            arguments_json=candidate.arguments_json,
            observation=candidate.observation,
            final_answer=candidate.final_answer,
            split=candidate.split,
        )
        self._outputs.keep(_entry(candidate, number, query, "kept", "split"))
        self._outputs.add_example(example)
        if example.split != "test" and self._section.mix.tools:
            prompts, responses = self._workshop.prompts, self._section.tool_responses
            for row in training_rows(example, prompts, responses):
                self._outputs.add_row(row)


def _explored(trial: Trial, fate: str, step: str, reason: str = "") -> LedgerEntry:
    return _ledger_entry(trial.trial_id, trial.tool, 0, trial.query, fate, step, reason)


def _entry(
    candidate: Candidate, number: int, query: str, fate: str, step: str, reason: str = ""
) -> LedgerEntry:
    return _ledger_entry(candidate.trial_id, candidate.tool, number, query, fate, step, reason)


def _ledger_entry(
    trial_id: str, tool: str, number: int, query: str, fate: Any, step: str, reason: str
) -> LedgerEntry:
    """Return the fate of a trial's query (number 0) or of one of its paraphrases (1, 2, …)."""
    return LedgerEntry(
        query_id=f"{trial_id}-{number}",
        trial_id=trial_id,
        tool=tool,
        query=query,
        origin="paraphrase" if number else "explored",
        fate=fate,
        step=step,
        reason=reason,
    )


def _window(config: Config) -> int:
    return _WAITING_PER_CALL * config.llm.max_concurrency
