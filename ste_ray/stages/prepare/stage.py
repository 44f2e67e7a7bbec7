"""The prepare stage on Ray Data: from trials to training data, and the ledger of every query.

Input: ``explore/episodes``. Output: ``prepare/examples`` (tests that need no call included),
``rows`` (training and validation rows, general data included), ``judgments``, ``ledger``; where
tests of other kinds are made, ``tests`` and ``tests.json`` (what became of them);
``totals.json`` (the ledger in figures), ``tools.json`` and ``toolkens.json`` (exactly the tools in
the data); with rounds, ``rounds``.

Select, filter, deduplicate, paraphrase, split and format happen in ``steps``, one partition after
the other; what is done here is to plan the partitions, to add general data and to mix rounds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray

from ste_ray.core import layout
from ste_ray.core.exploring.alike import MOST
from ste_ray.core.preparing.ledger import (
    FEW_EXAMPLES_NOTE,
    DropReason,
    LedgerTotals,
    ToolTotals,
    few_examples,
)
from ste_ray.core.toolkens import toolken
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.stages.prepare.general import draw_general, write_general
from ste_ray.stages.prepare.made_tests import count_tests
from ste_ray.stages.prepare.mix import rounds_of_tools, write_rounds
from ste_ray.stages.prepare.partitions import Partition, plan_partitions
from ste_ray.stages.prepare.testing import Testing, open_testing
from ste_ray.stages.prepare.worker import PrepareWorker
from ste_ray.stages.shared.limit_actor import Limiting
from ste_ray.stages.shared.model_session import Models, open_models
from ste_ray.stages.shared.reasoning import journal_reasoning

_MAX_NAMES = 20  # of tools, in the counts


def run(context: StageContext) -> dict[str, Any]:
    """Prepare the training data; see the module's docstring.

    Raises:
        StageInputError: the episodes cannot be used, or no example is left.
        ConfigError: the configuration names tools or a file that are not there.
        BudgetExhaustedError: the budget allows no further call; the same command goes on later.
    """
    store, config = context.store, context.config
    rounds = rounds_of_tools(context)
    general = draw_general(context)
    partitions = plan_partitions(store, context.specs.keys())
    with _models(context) as (models, limiting), open_testing(context) as testing:
        results = _prepare_partitions(context, partitions, models, testing)
        spent: dict[str, Any] = {"spent": limiting.spent()} if limiting else {}
        if models:
            spent |= journal_reasoning(
                context, "prepare", models.endpoints, layout.PREPARE_JOURNALS
            )
    totals = _totals(results, tested=config.prepare.test_fraction > 0)
    held_out = config.prepare.no_call.held_out_tools
    used = {one.tool: one for one in totals.tools if one.train + one.validation + one.test > 0}
    _warn_of_unread(context, totals, sum(one["counts"].get("judgments", 0) for one in results))
    _require_examples(used, totals)
    write_general(store, general)
    made = count_tests(context) if config.prepare.tests else {}
    store.write_json(layout.LEDGER_TOTALS, totals.model_dump(mode="json"))
    in_data = used if config.prepare.mix.tools else {}
    store.write_json(layout.PREPARED_TOOLS, [_listed(context, one) for one in in_data.values()])
    store.write_json(layout.PREPARED_TOOLKENS, [toolken(tool) for tool in in_data])
    index = write_rounds(context, rounds, in_data) if rounds else []
    _tell(context, used, rounds)
    store.delete_folder(layout.PREPARE_DONE)
    counts = Counter[str]()
    for result in results:
        counts.update(result["counts"])
    return {
        **{kind: counts[kind] for kind in ("examples", "rows", "judgments", "ledger")},
        **_corrections(context, counts["corrections"]),
        "general_rows": len(general.rows),
        **({"no_call_tests": len(general.tests)} if general.tests else {}),
        **({"tests_of_kinds": made} if made else {}),
        "tools": len(used),
        "splits": _splits(used.values()),
        "dropped": {f"{one.step}: {one.reason}": _number(one) for one in totals.reasons[:50]},
        "tools_without_test_examples": _untested(context, used),
        "tools_with_few_examples": sum(bool(one.warning) for one in used.values()),
        **({"held_out_tools": list(held_out)} if held_out else {}),
        **({"rounds": [one["counts"] for one in index]} if index else {}),
        **spent,
    }


@contextmanager
def _models(context: StageContext) -> Iterator[tuple[Models | None, Limiting | None]]:
    """Open the models that are asked, if any is."""
    roles = context.config.stage_roles("prepare")
    if not roles:
        yield None, None
        return
    with open_models(
        context, "prepare", roles, layout.PREPARE_JOURNALS, context.config.prepare.num_workers
    ) as opened:
        yield opened


def _prepare_partitions(
    context: StageContext,
    partitions: Sequence[Partition],
    models: Models | None,
    testing: Testing | None,
) -> list[dict[str, Any]]:
    """Prepare what an earlier attempt has not finished; return what all partitions hold."""
    store, section = context.store, context.config.prepare
    finished = set(store.list(layout.PREPARE_DONE))
    places = {one: layout.partition_done(one.name) for one in partitions}
    results = [store.read_json(place) for place in places.values() if place in finished]
    left = [one for one, place in places.items() if place not in finished]
    if results:
        done_before = f"{len(results)} of {len(partitions)} partitions were finished before"
        context.progress(f"prepare: {done_before}")
    if not left:
        return results
    prepared = ray.data.from_arrow(
        [pa.table({"partition": [json.dumps(one.to_json())]}) for one in left]
    ).map_batches(
        PrepareWorker,
        fn_constructor_args=(context.config, store, context.epoch, models, testing),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(section.num_workers, len(left))),
        num_cpus=0.5,
    )
    for batch in prepared.iter_batches(batch_format="pyarrow", batch_size=None):
        results += [json.loads(text) for text in batch.column("result").to_pylist()]
        examples = sum(result["counts"].get("examples", 0) for result in results)
        context.progress(
            f"prepare: partition {len(results)} of {len(partitions)} done, "
            f"{examples} examples so far"
        )
    return results


def _totals(results: Sequence[Mapping[str, Any]], tested: bool) -> LedgerTotals:
    tools = {tool: counts for result in results for tool, counts in result["tools"].items()}
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for result in results:
        for step, reason, origin, count in result["reasons"]:
            name = "explored" if origin == "explored" else "paraphrased"
            reasons.setdefault((step, reason), Counter())[name] += count
    listed = [DropReason(step=key[0], reason=key[1], **counts) for key, counts in reasons.items()]
    return LedgerTotals(
        tools=tuple(_tool_totals(tool, tools[tool], tested) for tool in sorted(tools)),
        reasons=tuple(sorted(listed, key=lambda one: (-_number(one), one.step, one.reason))),
    )


def _tool_totals(tool: str, counts: Mapping[str, int], tested: bool) -> ToolTotals:
    warning = few_examples(counts.get("train", 0), counts.get("test", 0), tested)
    return ToolTotals(tool=tool, warning=warning, **counts)


def _number(reason: DropReason) -> int:
    return reason.explored + reason.paraphrased


def _splits(totals: Any) -> dict[str, int]:
    names = ("train", "validation", "test")
    return {name: sum(getattr(one, name) for one in totals) for name in names}


def _untested(context: StageContext, used: Mapping[str, ToolTotals]) -> list[str]:
    """Return the names of tools that have no test examples, or the first of them."""
    if not context.config.prepare.test_fraction:
        return []
    names = [name for name, one in used.items() if not one.test]
    more = len(names) - _MAX_NAMES
    return [*names[:_MAX_NAMES], f"and {more} more"] if more > 0 else names


def _corrections(context: StageContext, number: int) -> dict[str, int]:
    """Return how many examples are trained as mended calls too, where that is wanted."""
    if context.config.prepare.trajectories == "last_call":
        return {}
    if not number:
        context.notes.append("no trial mended a call, so no correction is trained")
    return {"corrections": number}


def _listed(context: StageContext, totals: ToolTotals) -> dict[str, Any]:
    """Return what ``tools.json`` says of a tool in the data."""
    return {
        "name": totals.tool,
        "toolken": toolken(totals.tool),
        "description": context.specs[totals.tool].description,
        "examples": _splits([totals]),
    }


def _require_examples(used: Mapping[str, ToolTotals], totals: LedgerTotals) -> None:
    if not used:
        reasons = "; ".join(
            f"{_number(one)} x {one.step}: {one.reason}" for one in totals.reasons[:3]
        )
        raise StageInputError(
            f"no trial passed selection and filter ({reasons or 'there were no trials'}); look at "
            f"{layout.EPISODES}, improve the tool descriptions or explore more episodes"
        )


def _warn_of_unread(context: StageContext, totals: LedgerTotals, num_judgments: int) -> None:
    """Say so where most verdicts could not be read, or most paraphrases came to no end."""
    paraphrased = sum(one.paraphrased for one in totals.tools)
    for what, begins, step, number in (
        ("verdicts of the judge could not be read", "unparsable verdict", "filter", num_judgments),
        ("paraphrases came to no end", "the reply ", "paraphrase", paraphrased),
    ):
        found = [
            one for one in totals.reasons if one.step == step and one.reason.startswith(begins)
        ]
        count = sum(map(_number, found))
        if number and count / number >= MOST:
            note = f"{count} of {number} {what}, most often: {found[0].reason}"
            context.notes.append(note)
            context.progress(f"prepare: WARNING: {note}")


def _tell(
    context: StageContext, used: Mapping[str, ToolTotals], rounds: Sequence[Sequence[str]]
) -> None:
    """Note what a reader of the data should know."""
    section = context.config.prepare
    few = [name for name, one in used.items() if one.warning]
    if few:
        context.notes.append(
            f"{len(few)} of {len(used)} {FEW_EXAMPLES_NOTE}, {few[0]!r} among them; explore more "
            "episodes of them, or look in the ledger why their queries were dropped"
        )
    if not section.judge:
        context.notes.append("no judge filtered the examples (prepare.judge=false)")
    in_rounds = {tool for tools in rounds for tool in tools}
    apart = sorted(used.keys() - in_rounds) if rounds else []
    if apart:
        context.notes.append(
            f"{len(apart)} tools stand in no round and are trained in none, {apart[0]!r} among them"
        )
