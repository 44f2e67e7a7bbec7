"""The figures of the report, checked against counts made another way."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.core.preparing.ledger import LedgerTotals, ToolTotals
from ste_ray.core.records import Score
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.evaluation import view_evaluation
from ste_ray.report.exploration import failures_before_success, view_exploration
from ste_ray.report.html import render_html
from ste_ray.report.ledger import view_ledger
from ste_ray.report.overview import view_notices
from ste_ray.report.predictions import describe_failure
from ste_ray.report.training import view_training
from ste_ray.report.trials import result_of, sample_trials

from . import synthetic


def score(tool: str, outcome: Any, number: int, **fields: Any) -> Score:
    return Score(
        example_id=f"{tool}-{number}",
        setting="s",
        tool=tool,
        outcome=outcome,
        num_gold_arguments=1,
        **fields,
    )


def test_exploration_counts(data: ReportData, tables: dict[str, Any]) -> None:
    view = data.exploration
    trials = [trial for episode in tables[layout.EPISODES] for trial in episode.trials]
    assert view is not None
    assert (view.episodes, view.trials) == (300, 900)
    assert {t.name: t.count for t in view.solved} == Counter(t.solved for t in trials)
    assert sum(t.count for t in view.errors_before_success) == 900
    by_place = {p.number: p.solved for p in view.positions}
    assert by_place == {
        number + 1: sum(t.solved == "yes" and t.trial_number == number for t in trials)
        for number in range(3)
    }
    shares = [tool.solved / tool.trials for tool in view.tools]
    assert shares == sorted(shares)
    assert view.prompt_tokens == sum(trial.prompt_tokens for trial in trials)


def test_failures_before_success(tables: dict[str, Any]) -> None:
    trial = tables[layout.EPISODES][0].trials[0]
    template = trial.turns[0]

    def after(*statuses: str) -> int | None:
        turns = tuple(template.model_copy(update={"observation_status": s}) for s in statuses)
        return failures_before_success(trial.model_copy(update={"turns": turns}))

    assert after("ok", "error") == 0
    assert after("error", "unparsed", "rejected", "ok") == 3
    assert after("error", "none") is None
    assert after() is None


def test_a_run_without_trials_is_no_exploration() -> None:
    assert view_exploration([]) is None


def test_ledger_counts_every_query_once(data: ReportData, tables: dict[str, Any]) -> None:
    entries, examples = tables[layout.LEDGER], tables[layout.EXAMPLES]
    view = data.ledger
    assert view is not None
    assert view.kept + view.dropped == len(entries)
    assert sum(r.explored + r.paraphrased for r in view.reasons) == view.dropped
    assert sum(tool.imagined for tool in view.tools) == len(entries)
    assert sum(t.train + t.validation + t.test for t in view.tools) == len(examples)


def test_tools_with_few_examples_are_warned_of() -> None:
    tools = (
        ToolTotals(tool="none", explored=1, dropped=1, warning="few examples: 0 to train on"),
        ToolTotals(tool="poor", kept=19, train=19, warning="few examples: 19 to train on"),
        ToolTotals(tool="rich", kept=25, train=20, test=5),
    )
    view = view_ledger(LedgerTotals(tools=tools[::-1], reasons=()).model_dump(mode="json"))
    assert view is not None
    assert view.few_examples == 2
    assert [tool.tool for tool in view.tools] == ["none", "poor", "rich"]
    assert view.tools[1].warning == "few examples: 19 to train on"
    assert view.tools[2].warning == ""


def test_tools_are_sorted_by_trouble(data: ReportData) -> None:
    assert data.evaluation is not None
    rows = data.evaluation.tools
    shares = [row.after.correct.share for row in rows]
    assert shares == sorted(shares)
    assert rows[0].trouble.startswith("wrong: value (")


def test_confusion_rows_add_up_to_the_predictions(data: ReportData) -> None:
    assert data.evaluation is not None
    for confusion in data.evaluation.confusions:
        assert all(len(row) == len(confusion.tools + confusion.others) for _, row in confusion.rows)
        assert [sum(row) for _, row in confusion.rows] == [15] * 20
        assert all(gold != predicted for gold, predicted, _ in confusion.pairs)


def test_large_confusions_keep_the_most_confused_tools() -> None:
    scores = [score(f"t{n:03}", "correct", 0, predicted_tool=f"t{n:03}") for n in range(100)]
    scores += [score("t050", "wrong_tool", 1, predicted_tool="t099")]
    summary = synthetic.summary_of({"s": scores})
    view = view_evaluation(summary.model_dump(mode="json"), scores, [])
    assert view is not None
    confusion = view.confusions[0]
    assert confusion.omitted == 60
    assert {"t050", "t099"} < set(confusion.tools)
    assert confusion.pairs == (("t050", "t099", 1),)


def test_examples_cover_every_outcome_of_every_setting(
    data: ReportData, tables: dict[str, Any]
) -> None:
    assert data.evaluation is not None
    examples = data.evaluation.examples
    everything = {(one.setting, one.outcome) for one in tables[layout.SCORES]}
    assert {(one.setting, one.outcome) for one in examples} == everything
    assert len(examples) <= 90
    last = [one.outcome for one in examples if one.setting == synthetic.SETTINGS[-1]]
    assert last.index("correct") == len(last) - last.count("correct")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"outcome": "correct"}, ""),
        (
            {"outcome": "wrong_arguments", "missing": ("a", "b"), "wrong": ("c",)},
            "missing: a, b; wrong: c",
        ),
        ({"outcome": "wrong_tool", "predicted_tool": "other"}, "wrong tool: other"),
        ({"outcome": "unknown_tool"}, "unknown tool"),
        ({"outcome": "no_call"}, "no call"),
    ],
)
def test_failures_are_described_in_a_few_words(fields: dict[str, Any], text: str) -> None:
    assert describe_failure(score("t", number=0, **fields)) == text


def test_the_sample_of_trials_is_stratified(data: ReportData, tables: dict[str, Any]) -> None:
    results = [trial.result for trial in data.trials]
    order = ("unfinished", "not solved", "solved after errors", "solved at once")
    assert len(results) == 60
    assert results == sorted(results, key=order.index)
    assert set(results) == set(order)
    assert len({trial.tool for trial in data.trials}) == 20
    reversed_episodes = tables[layout.EPISODES][::-1]
    again = sample_trials(reversed_episodes, tables[layout.JUDGMENTS], tables[layout.LEDGER])
    assert again == data.trials


def test_unparsable_reflections_count_as_not_solved(tables: dict[str, Any]) -> None:
    trials = [trial for episode in tables[layout.EPISODES] for trial in episode.trials]
    unparsable = [t for t in trials if t.solved == "unparsable" and t.outcome == "finished"]
    assert unparsable
    assert {result_of(trial) for trial in unparsable} == {"not solved"}


def test_a_small_run_shows_all_its_trials(tables: dict[str, Any]) -> None:
    episodes = tables[layout.EPISODES][:5]
    assert len(sample_trials(episodes, [], [])) == 15


def test_trials_say_what_became_of_their_query(data: ReportData) -> None:
    statuses = {trial.query_status.partition(":")[0] for trial in data.trials}
    assert statuses <= {"kept", "dropped at select", "dropped at judge"}
    assert all(trial.judgment.startswith("informative ") for trial in data.trials)


def test_training_curves_leave_out_what_is_no_number() -> None:
    metrics = [
        {"step": 1, "loss": 2.0, "learning_rate": 0.1, "grad_norm": math.inf},
        {"step": 2, "loss": math.nan, "learning_rate": 0.2, "validation_loss": None},
        {"step": 3, "loss": 1.5, "learning_rate": "high", "useful_tokens_per_second": 1500.0},
    ]
    view = view_training(metrics)
    assert view is not None
    assert view.steps == 3
    titles = [title for title, _ in view.panels]
    assert titles == ["Loss per label token", "Learning rate", "Tokens per second"]
    assert view.panels[0][1][0].points == ((1.0, 2.0), (3.0, 1.5))
    assert len(view.panels[0][1]) == 1
    assert dict(view.figures) == {
        "training loss, last step": "1.5",
        "tokens per second, median": "1.5k",
    }


def test_the_headline_loss_is_a_mean_and_says_of_how_many_steps() -> None:
    metrics = [
        {"step": n, "loss": 0.0 if n == 40 else 2.0, "validation_loss": 1.2 if n == 30 else None}
        for n in range(1, 41)
    ]
    view = view_training(metrics)
    assert view is not None
    assert dict(view.figures) == {
        "training loss, mean of the last 4 steps": "1.5",
        "validation loss, after step 30": "1.2",
    }


@pytest.mark.parametrize("metrics", [None, [], {}, "text", [1, 2], [{"loss": 1.0}]])
def test_training_without_steps_is_not_shown(metrics: Any) -> None:
    assert view_training(metrics) is None


def test_stages_show_their_manifest(data: ReportData) -> None:
    train = next(stage for stage in data.stages if stage.name == "train")
    assert train.ran
    assert train.seconds == 241.7
    assert train.started_at == "2026-03-02 10:01 UTC"
    assert ("tokens: prompt", "1,203,000") in train.counts
    assert '"hidden_size": 128' in train.config_text


def test_notes_of_stages_are_shown_once(tables: dict[str, Any]) -> None:
    manifests = synthetic.manifests()
    for stage in ("explore", "train"):
        manifests[stage]["notes"] = ["only half of the tools answered"]
    data = assemble_report(synthetic.FakeReader({}, {}, manifests), 0.0)
    notes = [notice.text for notice in data.notices if notice.kind == "note"]
    assert notes == ["only half of the tools answered"]


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        ({"base": "/models/mine", "name": "Mine (a model)"}, "Base model: Mine (a model)"),
        ({"base": "/cache/SmolLM2", "name": "SmolLM2 (a model)"}, "Base model: mine"),
        ({"base": "", "name": "", "reason": "no network"}, "Base model: mine"),
    ],
)
def test_a_base_model_has_the_name_of_the_demo_only_if_it_is_that(
    begun: dict[str, str], expected: str
) -> None:
    manifests = {"train": {"config": {"train": {"model": {"base": "/models/mine"}}}}}
    (notice,) = view_notices(manifests, {}, None, begun)
    assert notice.title == expected


def test_what_a_notice_tells_is_not_told_again_as_a_note_of_its_stage() -> None:
    manifests = synthetic.manifests()
    note = "1 of 20 tools have few examples, 't' among them; explore more episodes of them"
    manifests["prepare"]["notes"] = [note]

    def notices(few_examples: int) -> list[str]:
        ledger = view_ledger({"reasons": [], "tools": []})
        assert ledger is not None
        found = view_notices(
            manifests, {}, ledger.model_copy(update={"few_examples": few_examples})
        )
        return [f"{one.title} {one.text}" for one in found]

    assert len([one for one in notices(1) if "few examples" in one]) == 1
    assert [one for one in notices(0) if "few examples" in one] == [
        f"Note of the prepare stage {note}"
    ]


@pytest.mark.parametrize(
    ("settings", "told", "untold"),
    [
        (["base/icl", "tuned/plain"], "'base' are this model before training", "fine-tunes"),
        (["tuned/toolken"], "'tuned' are this model after training", "'base'"),
        (["endpoint/icl"], "The run fine-tunes this model.", "'base'"),
    ],
)
def test_the_base_model_is_explained_by_the_settings_that_ran(
    settings: list[str], told: str, untold: str
) -> None:
    manifests = {
        "train": {"config": {"train": {"model": {"base": "/models/Small"}}}},
        "infer": {"config": {"infer": {"settings": settings}}},
    }
    (notice,) = view_notices(manifests, {}, None)
    assert notice.title == "Base model: Small"
    assert told in notice.text
    assert untold not in notice.text


def test_corrections_are_counted_by_tool_where_there_are_any(data: ReportData) -> None:
    tools = (
        ToolTotals(tool="mended", kept=30, train=25, test=5, corrections=917),
        ToolTotals(tool="clean", kept=30, train=25, test=5),
    )
    view = view_ledger(LedgerTotals(tools=tools, reasons=()).model_dump(mode="json"))
    assert view is not None
    assert view.corrections == 917
    assert {one.tool: one.corrections for one in view.tools} == {"mended": 917, "clean": 0}
    page = render_html(data.model_copy(update={"ledger": view}))
    assert "trained as corrections too" in page
    assert page.count('<td class="num">917</td>') == 1
    assert "trained as corrections too" not in render_html(data)
