"""What ``ste-ray explore --estimate`` says: calls, tokens, dollars and time, before the start.

Nothing is started, asked or written. The arithmetic is in ``core.exploring.estimate``; without
recorded answers its lengths are the scripted teacher's, and so a rough guide for a language model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ste_ray.core import layout
from ste_ray.core.asked_models import TEACHER_MODEL
from ste_ray.core.effects import Answer
from ste_ray.core.exploring.config import ExploreConfig
from ste_ray.core.exploring.estimate import Usage, affordable_tools, estimate, minimum_seconds
from ste_ray.core.exploring.lengths import measure
from ste_ray.errors import StageInputError
from ste_ray.llm.endpoint import role_endpoint
from ste_ray.llm.prices import Price, cost, price_of
from ste_ray.report.numbers import duration
from ste_ray.runtime.journal import answer_of, iter_entries
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.plan import trial_settings
from ste_ray.stages.explore.rounds import rules_of
from ste_ray.stages.shared.spending import bounds_of
from ste_ray.store.artifacts import RunStore

_CASES = ("low", "expected", "high")
_UNKNOWN = "unknown"


def estimate_explore(
    context: StageContext,
    answers: Iterable[Answer] = (),
    *,
    model: str = "",
    num_earlier: float = 0.0,
) -> dict[str, Any]:
    """Estimate the whole exploration that ``context`` configures, as a JSON object.

    Args:
        context: the configuration, prompts and tools.
        answers: what earlier attempts of this run recorded; their lengths are used.
        model: the explorer's, where it is known better than from the configuration.
        num_earlier: requests that are remembered of each tool, in the mean.

    Returns:
        ``low``, ``expected`` and ``high``, each with ``calls``, ``prompt_tokens``,
        ``completion_tokens``, ``usd`` (None: no known price) and ``seconds`` (what the rate limits
        alone make it take; None: no configured limits); ``tools``, ``trials``, ``model``,
        ``recorded`` (replies and tokens of ``answers``) and ``notes``, sentences for people, among
        them how many tools the budget is enough for; ``tools_within_budget`` (None: no budget,
        or one in dollars without a price).

    Raises:
        StageInputError: no tool is configured.
    """
    section = context.config.explore
    specs = list(context.configured_tools.specs.values())
    if not specs:
        raise StageInputError("there is no tool to explore; name tools in tools.files")
    recorded = measure(answers, section.observation_chars, section.protocol == "native")
    found = estimate(
        specs,
        context.prompts,
        trial_settings(context.config),
        num_episodes=section.episodes_per_tool,
        num_trials=section.trials_per_episode,
        parallel_episodes=section.parallel_episodes,
        rules=rules_of(section),
        suggests=section.suggests,
        num_earlier=num_earlier,
        short=recorded.short,
        expected=recorded.expected,
    )
    model = model or _explorer_model(context)
    price = price_of(model, context.config.llm) if model else None
    notes = [_about_lengths(recorded.replies), _about_price(model, price)]
    notes.append(_about_simulated(sum(s.kind == "simulated" for s in specs)))
    notes.append(_about_plan(section))
    affordable = _affordable(context, found.expected, price, len(specs))
    notes += _about_budget(context, found.expected, price, len(specs), affordable)
    figures = (found.low, found.expected, found.high)
    return {
        "tools": len(specs),
        "trials": len(specs) * section.episodes_per_tool * section.trials_per_episode,
        "model": model,
        **{
            case: _figures(context, usage, price)
            for case, usage in zip(_CASES, figures, strict=True)
        },
        "recorded": {
            "replies": recorded.replies,
            "prompt_tokens": recorded.prompt_tokens,
            "completion_tokens": recorded.completion_tokens,
        },
        "tools_within_budget": affordable,
        "notes": [note for note in notes if note],
    }


def recorded_answers(store: RunStore) -> Iterator[Answer]:
    """Yield what the run's journal holds, if anything."""
    for entry in iter_entries(store, layout.EXPLORE_JOURNAL):
        if entry.get("role", "explorer") != "explorer":
            continue  # a model that plays a tool
        answer = answer_of(entry)
        if answer is not None:
            yield answer


def _explorer_model(context: StageContext) -> str:
    endpoint = role_endpoint(context.config.llm, "explorer", os.environ)
    return endpoint.model if endpoint.base_url or endpoint.model else TEACHER_MODEL


def as_lines(found: Mapping[str, Any]) -> str:
    """Return an estimate as a table and sentences for people, each line with its end."""
    head = f"explore: {found['tools']:,} tools, {found['trials']:,} trials"
    lines = [head + (f", model {found['model']!r}" if found["model"] else "")]
    lines.append(f"{'':20}{'low':>16}{'expected':>16}{'high':>16}")
    for key in ("calls", "prompt_tokens", "completion_tokens", "usd", "seconds"):
        cells = "".join(f"{_cell(key, found[case][key]):>16}" for case in _CASES)
        label = {"usd": "US dollars", "seconds": "time, at least"}.get(key, key.replace("_", " "))
        lines.append(f"{label:20}{cells}")
    return "".join(f"{line}\n" for line in [*lines, *found["notes"]])


def _about_plan(section: ExploreConfig) -> str:
    rules = rules_of(section)
    if rules is None:
        return ""
    return (
        f"The plan is adaptive: {rules.least} to {rules.most} episodes a tool, in all at most "
        f"{rules.episodes} a tool; low is where every tool is closed at once."
    )


def _about_simulated(number: int) -> str:
    if not number:
        return ""
    return (
        f"{number} tools are played by a model: each different call of theirs is one more request, "
        "which is not in these figures"
    )


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    if key == "usd":
        return f"{value:,.2f}"
    return duration(value) if key == "seconds" else f"{value:,}"


def _figures(context: StageContext, usage: Usage, price: Price | None) -> dict[str, Any]:
    llm = context.config.llm
    seconds = minimum_seconds(
        usage,
        llm.explorer.requests_per_minute or llm.requests_per_minute,
        llm.explorer.tokens_per_minute or llm.tokens_per_minute,
    )
    usd = _usd(usage, price)
    return {
        "calls": round(usage.calls),
        "prompt_tokens": round(usage.prompt_tokens),
        "completion_tokens": round(usage.completion_tokens),
        "usd": None if usd is None else round(usd, 4),
        "seconds": None if seconds is None else round(seconds, 1),
    }


def _usd(usage: Usage, price: Price | None) -> float | None:
    if price is None:
        return None
    return cost(
        price,
        prompt_tokens=round(usage.prompt_tokens),
        completion_tokens=round(usage.completion_tokens),
    )


def _affordable(
    context: StageContext, total: Usage, price: Price | None, num_tools: int
) -> int | None:
    bounds = bounds_of(context.config.budget)
    if not bounds.limited or (bounds.max_usd is not None and price is None):
        return None
    return affordable_tools(bounds, total, _usd(total, price), num_tools)


def _about_lengths(num_replies: int) -> str:
    if num_replies:
        return f"Lengths of replies are those of the {num_replies:,} that this run recorded so far."
    return (
        "Lengths of replies are those of the scripted teacher, a rough guide: language models "
        "write more. With answers recorded, the next estimate of this run is closer."
    )


def _about_price(model: str, price: Price | None) -> str:
    if price is not None:
        return ""
    if not model:
        return "The cost is unknown because no model is named: set llm.model."
    return (
        f"The price of {model!r} is unknown; set it in dollars per million tokens: "
        f"'llm.prices={{{model}: {{input_usd: 1, output_usd: 2}}}}'."
    )


def _about_budget(
    context: StageContext, total: Usage, price: Price | None, num_tools: int, affordable: int | None
) -> list[str]:
    notes = []
    if affordable is not None:
        enough = f"about {affordable:,} of {num_tools:,} tools"
        if affordable == num_tools:
            enough = f"all {num_tools:,} tools"
        notes.append(f"With the expected use, the budget is enough for {enough}.")
    per_tool = bounds_of(context.config.budget.per_tool)
    one = total.times(1 / num_tools)
    if per_tool.limited and not affordable_tools(per_tool, one, _usd(one, price), 1):
        notes.append("With the expected use, the budget per tool ends most tools early.")
    return notes
