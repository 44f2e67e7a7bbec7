"""The first steps of a partition: select trials, and let the judge filter them.

What passes becomes a draft; what does not is written down with step and reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ste_ray.config import Config
from ste_ray.core.preparing.corrections import failed_before, failed_text
from ste_ray.core.preparing.judging import failed_questions, judge_flow
from ste_ray.core.preparing.selecting import group_id, select_call, split_of
from ste_ray.core.records import Judgment, Trial, Turn
from ste_ray.runtime.windows import in_order
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.spool import Draft
from ste_ray.store.tables import RefusedRow, iter_results
from ste_ray.tools.checks.bounded import BoundedCheck


class _Unreadable(NamedTuple):
    """What a row that is no trial says of itself."""

    trial_id: str
    tool: str
    query: str

    @classmethod
    def of(cls, tool: str, refused: RefusedRow) -> _Unreadable:
        trial_id, query = refused.row.get("trial_id"), refused.row.get("query")
        trial_id = trial_id if isinstance(trial_id, str) else "unreadable"
        return cls(trial_id, tool, query if isinstance(query, str) else "")


async def screened(
    tables: Iterator[pa.Table], context: PrepareContext, outputs: Outputs
) -> AsyncIterator[Draft]:
    """Yield the drafts among the trials, in their order.

    Args:
        tables: columns ``tool`` and ``trials``, those of a tool one after the other.
        context: of the partition.
        outputs: takes judgments, and the ledger entries of what does not pass.
    """
    async for trial, call, judgment in _judged(_selected(tables, context, outputs), context):
        if judgment is not None:
            outputs.add_judgment(judgment)
            if not judgment.passed:
                outputs.drop(trial, "filter", failed_questions(judgment))
                continue
        yield _draft(trial, call, context.config)


def _selected(
    tables: Iterator[pa.Table], context: PrepareContext, outputs: Outputs
) -> Iterator[tuple[Trial, Turn]]:
    """Yield the trials that hold an example, with its call; the others go into the ledger."""
    section = context.config.prepare
    checks: dict[str, BoundedCheck] = {}
    ids: set[int] = set()
    for table in tables:
        for tool, found in _trials(table):
            if isinstance(found, RefusedRow):
                reason = f"not readable: column {found.column!r}: {found.reason}"
                outputs.drop(_Unreadable.of(tool, found), "select", reason)
                continue
            outputs.note_calls(found)
            call = select_call(
                found,
                keep_simulated="simulated" not in section.drop,
                keep_errors="errors" not in section.drop,
            )
            if not isinstance(call, str) and "invalid_arguments" in section.drop:
                if tool not in checks:
                    checks = {tool: BoundedCheck(tool, context.specs[tool].parameters)}
                call = _if_valid(call, checks[tool])
            key = hash(found.trial_id)
            if not isinstance(call, str) and key in ids:
                call = "another trial has the same id"
            if isinstance(call, str):
                outputs.drop(found, "select", call)
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


def _if_valid(call: Turn, check: BoundedCheck) -> Turn | str:
    refusal = check.refusal_now(call.arguments_json)
    return f"the arguments do not fit the schema: {refusal}" if refusal else call


async def _judged(
    selected: Iterator[tuple[Trial, Turn]], context: PrepareContext
) -> AsyncIterator[tuple[Trial, Turn, Judgment | None]]:
    run_flow, config = context.run_flow, context.config
    if run_flow is None or not config.prepare.judge:
        for trial, call in selected:
            yield trial, call, None
        return

    async def ask(item: tuple[Trial, Turn]) -> Judgment:
        trial, call = item
        spec, temperature = context.specs[trial.tool], config.prepare.judge_temperature
        flow = judge_flow(trial, call, spec, context.prompts, temperature)
        judgment: Judgment = await run_flow(flow, f"judge-{trial.trial_id}")
        return judgment

    async for (trial, call), judgment in in_order(ask, selected, context.window):
        yield trial, call, judgment


def _draft(trial: Trial, call: Turn, config: Config) -> Draft:
    section = config.prepare
    group = group_id(trial, call.arguments_json, section.group_by)
    return Draft(
        tool=trial.tool,
        trial_id=trial.trial_id,
        query=trial.query,
        arguments_json=call.arguments_json,
        observation=call.observation,
        final_answer=trial.final_answer,
        group_id=group,
        split=split_of(group, config.seed, section.validation_fraction, section.test_fraction),
        failed_json=failed_text(failed_before(trial, call)) if section.reads_corrections else "",
    )
