"""Makes the tests of other kinds of a partition's tools, of requests that are in the test split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ste_ray.core.preparing.corrections import failed_of_text
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import CALL_KINDS, Example, MadeTest
from ste_ray.core.test_making.making import (
    Material,
    Source,
    Wanted,
    make_tests_flow,
    sources_in_order,
)
from ste_ray.core.test_making.recovering import Mended, recovery_tests
from ste_ray.runtime.drive import RunFlow
from ste_ray.runtime.windows import in_order
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.pairs import NUM_ALIKE
from ste_ray.stages.prepare.spool import Draft


async def make_tests(
    drafts: Iterable[Draft],
    texts: Mapping[str, set[int]],
    context: PrepareContext,
    outputs: Outputs,
) -> None:
    """Make the tests that are wanted of each tool.

    Args:
        drafts: what is kept, in order.
        texts: tool -> hashes of all its wordings, of all splits; those of tests are added.
        context: of the partition.
        outputs: takes what was made, and the examples.
    """
    held_out = context.config.prepare.no_call.held_out_tools
    by_tool: dict[str, dict[str, Draft]] = {
        tool: {} for tool in sorted(texts) if tool not in held_out
    }
    for draft in drafts:
        if draft.split == "test" and draft.tool in by_tool:
            by_tool[draft.tool][draft.trial_id] = draft
    if number := context.config.prepare.tests.recovery:
        _add_recovery(by_tool, number, context, outputs)
    if context.neighbourhood is not None and context.run_flow is not None:
        await _write_tests(by_tool, texts, context, context.run_flow, outputs)


def _add_recovery(
    by_tool: Mapping[str, Mapping[str, Draft]],
    number: int,
    context: PrepareContext,
    outputs: Outputs,
) -> None:
    """Make tests of trials that mended a call; their requests are explicit tests themselves."""
    for tool, drafts in by_tool.items():
        sources = {
            key: Mended(key, draft.query, draft.arguments_json, failed_of_text(draft.failed_json))
            for key, draft in drafts.items()
        }
        tried = sources_in_order(sources, context.config.seed, "recovery")
        for test in recovery_tests(context.specs[tool], tried, number):
            kept = test.status == "kept"
            outputs.add_test(test, _example(test, drafts[test.trial_id]) if kept else None)


async def _write_tests(
    by_tool: Mapping[str, Mapping[str, Draft]],
    texts: Mapping[str, set[int]],
    context: PrepareContext,
    run_flow: RunFlow,
    outputs: Outputs,
) -> None:
    """Make the tests that models write and judge."""
    material = Material(
        context.prompts, context.config.seed, context.config.prepare.judge_temperature
    )

    async def ask(wanted: Wanted) -> list[MadeTest]:
        made: list[MadeTest] = await run_flow(make_tests_flow(wanted, material), wanted.scope)
        return made

    wanted = _wanted(by_tool, context, outputs)
    async for one, made in in_order(ask, wanted, context.window):
        for test in made:
            told = _unless_known(test, texts[one.tool.name])
            source = by_tool[test.about].get(test.trial_id)
            outputs.add_test(told, _example(told, source) if told.status == "kept" else None)


def _wanted(
    by_tool: Mapping[str, Mapping[str, Draft]], context: PrepareContext, outputs: Outputs
) -> Iterator[Wanted]:
    near_tools, held_out = context.neighbourhood, context.config.prepare.no_call.held_out_tools
    assert near_tools is not None
    for tool, drafts in by_tool.items():
        sources = {
            key: Source(key, draft.query, draft.arguments_json) for key, draft in drafts.items()
        }
        likest = [name for name, _ in near_tools.likest[tool] if name not in held_out]
        near = near_tools.near(tool, outputs.called_instead(tool))
        for kind, number in context.config.prepare.tests.written.items():
            yield Wanted(
                kind=kind,
                tool=context.specs[tool],
                number=number,
                sources=sources_in_order(sources, context.config.seed, kind),
                others=[context.specs[name] for name in likest[: NUM_ALIKE - 1]],
                retrieved=lambda request: [
                    context.specs[name] for name in near_tools.retrieved(request)
                ],
                near=context.specs[near] if near and near not in held_out else None,
                not_executed=context.not_executed.get(tool, ""),
            )


def _unless_known(test: MadeTest, texts: set[int]) -> MadeTest:
    """Return a test, dropped where its tool has the same request already; else it is noted."""
    if test.status == "dropped":
        return test
    key = hash(normalise(test.query))
    if key in texts:
        reason = "the same request as another one of this tool"
        return test.model_copy(update={"status": "dropped", "step": "train", "reason": reason})
    texts.add(key)
    return test


def _example(test: MadeTest, draft: Draft | None) -> Example:
    """Return the example that a kept test becomes; of a draft only where its call is right."""
    right = draft if test.kind in CALL_KINDS else None
    return Example(
        example_id=test.test_id,
        group_id=right.group_id if right else test.test_id,
        trial_id=test.trial_id,
        tool=right.tool if right else "",
        query=test.query,
        origin="generated",
        arguments_json=right.arguments_json if right else "",
        observation=right.observation if right else "",
        final_answer=right.final_answer if right else "",
        split="test",
        kind=test.kind,
        near_tool=test.near_tool,
        missing=test.missing,
        failed_calls=failed_of_text(right.failed_json) if right and test.kind == "recovery" else (),
    )
