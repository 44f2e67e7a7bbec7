"""Asks the scorer where the rules of scoring leave texts open, and measures it on labelled pairs.

The verdicts are cached on the scorer's model and its whole prompt, which holds the pair: equal
pairs are asked once, and a stage that goes on asks nothing again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ste_ray.core import layout
from ste_ray.core.records import canonical_json, fingerprint
from ste_ray.core.replies.parsing import ToolCall, parse_action
from ste_ray.core.replies.reasoning import separate
from ste_ray.core.scoring.agreement import Agreement, JudgeReport, agreement
from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.scoring.equivalence import Pair, ScorerVerdict, scoring_flow, scoring_prompt
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError
from ste_ray.imports.rows import Row, read_rows
from ste_ray.runtime import journal
from ste_ray.runtime.bounded import bounded
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.model_session import (
    JournalPlace,
    Models,
    ModelSession,
    open_models,
)
from ste_ray.stages.shared.reasoning import journal_reasoning

_YES = (1, True, "same", "yes", "correct")
_NO = (0, False, "different", "no", "wrong")


@dataclass(frozen=True)
class _Labelled:
    pair: Pair
    same: bool


def judge_pairs(
    context: StageContext, pairs: Sequence[Pair]
) -> tuple[dict[Pair, ScorerVerdict], JudgeReport, dict[str, Any]]:
    """Ask the judge of all pairs, and of labelled ones if there are any.

    Returns:
        The verdict on each pair, what the judge is worth, and what was spent.

    Raises:
        StageInputError: the labels cannot be used.
    """
    section = context.config.evaluate.judge
    labelled = _read_labels(section.labels, context.specs) if section.labels else []
    folder = layout.EVALUATE_JOURNAL
    roles = context.config.stage_roles("evaluate")
    with open_models(context, "evaluate", roles, folder, 1) as (models, limiting):
        wanted = [*pairs, *(one.pair for one in labelled)]
        context.progress(f"evaluate: asking the judge of {len(wanted)} pairs of arguments")
        verdicts = asyncio.run(_ask(context, models, wanted))
        model = models.endpoints.models["scorer"]
        spent = limiting.spent()
        journal_reasoning(context, "evaluate", models.endpoints, folder)
    measured = None
    if labelled:
        measured = agreement([(one.same, verdicts[one.pair].verdict) for one in labelled])
    counts = dict.fromkeys(("same", "different", "unsure"), 0)
    for pair in pairs:
        counts[verdicts[pair].verdict] += 1
    reason = _why_not(measured)
    report = JudgeReport(
        model=model,
        asked=len(pairs),
        verdicts=counts,
        gates=not reason,
        reason=reason,
        agreement=measured,
    )
    if reason:
        context.notes.append(f"the judge's verdicts do not count: {reason}")
    context.store.write_json(layout.JUDGE_REPORT, report.model_dump(mode="json"))
    return verdicts, report, spent


def write_undecided(context: StageContext, pairs: Iterable[Pair]) -> None:
    """Write the pairs that no rule decides, ready to be labelled by a person."""
    lines = [
        json.dumps(
            {
                "tool": pair.tool,
                "query": pair.query,
                "arguments": json.loads(pair.gold_json),
                "predicted": json.loads(pair.predicted_json),
                "label": None,
            },
            ensure_ascii=False,
        )
        for pair in pairs
    ]
    text = "".join(f"{line}\n" for line in lines)
    context.store.write_bytes(layout.UNDECIDED, text.encode(errors="replace"))


def _why_not(measured: Agreement | None) -> str:
    if measured is None:
        return "it was measured on no labels (evaluate.judge.labels)"
    if measured.may_gate:
        return ""
    if measured.n < measured.min_pairs:
        return f"it was measured on {measured.n} labelled pairs, fewer than {measured.min_pairs}"
    kappa = "none" if measured.kappa is None else f"{measured.kappa:.2f}"
    return f"its agreement with {measured.n} labels, kappa {kappa}, is below {measured.floor}"


async def _ask(
    context: StageContext, models: Models, pairs: Sequence[Pair]
) -> dict[Pair, ScorerVerdict]:
    config, prompts = context.config, context.prompts
    texts = {
        pair: scoring_prompt(pair, context.specs[pair.tool], prompts)
        for pair in dict.fromkeys(pairs)
    }
    place = JournalPlace(
        context.store, layout.EVALUATE_JOURNAL, context.epoch, config.flush_seconds
    )
    model = models.endpoints.models["scorer"]
    recorded = journal.load(place.store, place.folder)
    name = f"evaluate-{uuid4().hex[:8]}"
    prompts_asked = list(dict.fromkeys(texts.values()))
    async with ModelSession(models, config.llm, place, name=name, seed=config.seed) as session:

        async def ask(text: str) -> ScorerVerdict:
            scope = fingerprint([model, text])
            return await session.run(scoring_flow(text, prompts), scope, recorded.get(scope))

        answers = await bounded(
            [lambda text=text: ask(text) for text in prompts_asked],  # type: ignore[misc]
            2 * config.llm.max_concurrency,
        )
    found = dict(zip(prompts_asked, answers, strict=True))
    return {pair: found[text] for pair, text in texts.items()}


def _read_labels(path: str, specs: Mapping[str, ToolSpec]) -> list[_Labelled]:
    """Read labelled pairs, and keep those that would reach the judge.

    A row has the right tool and arguments, and either ``predicted`` (arguments) and ``label``
    (same, different), or as in the study's saved results ``model_output`` and ``args_correct``.
    """
    found, unlabelled = [], 0
    for row in read_rows(path):
        value = row.fields.get("label", row.fields.get("args_correct"))
        if value is None:
            unlabelled += 1
            continue
        if value not in (*_YES, *_NO):
            raise row.error(f"its label is {value!r}; it must be 'same' or 'different', or 1 or 0")
        pair = _labelled_pair(row, specs)
        if pair is not None:
            found.append(_Labelled(pair, value in _YES))
    if not found:
        raise StageInputError(
            f"evaluate.judge.labels={path!r} holds no labelled pair that the rules leave open"
            f" ({unlabelled} rows have no label); label rows of {layout.UNDECIDED!r}"
        )
    return found


def _labelled_pair(row: Row, specs: Mapping[str, ToolSpec]) -> Pair | None:
    """Return the pair of a row; None: its tool is not known here, or the rules decide it."""
    spec = specs.get(row.tool)
    if spec is None:
        return None
    if "predicted" in row.fields:
        predicted = row.fields["predicted"]
        if not isinstance(predicted, dict):
            raise row.error(f"'predicted' is {predicted!r}, it must be a JSON object")
    else:
        reply = parse_action(separate(row.text("model_output")).content, specs, suggest=False)
        if not isinstance(reply, ToolCall) or reply.tool != row.tool:
            return None
        predicted = reply.arguments
    gold = json.loads(row.arguments_json)
    accepted = json.loads(row.accepted_json or "{}")
    differences = compare_arguments(gold, predicted, spec.parameters, accepted)
    if not differences.undecided:
        return None
    query = row.text("query", default="")
    return Pair(row.tool, query, row.arguments_json, canonical_json(predicted), differences.wrong)
