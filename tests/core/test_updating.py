"""What an update does with each tool, what it takes over, and what it trains on again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.exploring.memory import MemoryEntry
from ste_ray.core.preparing.mixing import replay_quotas
from ste_ray.core.records import Episode, Example, Score, Trial, Turn
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.updating.carrying import Carried, absent_test, is_absent_source, unclaimed
from ste_ray.core.updating.groups import ToolGroups, group_tools
from ste_ray.core.updating.remembering import remembered
from ste_ray.core.updating.replay import RowKey, replayed, share_of_steps
from ste_ray.core.updating.summary import update_figures

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def tool(name, description="", **properties):
    return ToolSpec(
        name=name,
        description=description or f"It does what {name} does.",
        parameters={"type": "object", "properties": properties or {"city": TEXT, "days": NUMBER}},
        executor={"kind": "python", "target": "a:b"},
    )


def grouped(old, new):
    return group_tools(*({one.name: one for one in tools} for tools in (old, new)))


def test_each_tool_is_in_one_group_by_what_changed():
    long = "Converts an amount of money from one currency into another at the rate of a day."
    old = [
        *(tool("weather"), tool("same"), tool("reworded"), tool("gone", x=TEXT)),
        tool("convert", long, amount=NUMBER, currency=TEXT),
    ]
    new = [
        *(tool("weather", city=TEXT, days=TEXT, place={"type": "object"}), tool("same")),
        *(tool("reworded", "Said otherwise."), tool("other", "Adds up.", terms={"type": "array"})),
        tool("exchange", long, amount=NUMBER, currency=TEXT),
    ]
    found = grouped(old, new)
    assert found.kept == ("reworded", "same")
    assert found.changed == ("weather",)
    assert found.parameters == {"weather": ("days", "place")}
    assert found.added == ("other",)
    assert found.renamed == {"exchange": "convert"}
    assert found.removed == ("gone",)
    assert found.explored == ("exchange", "other", "weather")
    assert found.retired == ("convert", "gone")
    assert [found.before(one) for one in found.explored] == ["convert", "", "weather"]
    assert found.is_due
    assert not grouped(old, old).is_due


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_every_tool_is_in_exactly_one_group(old, new):
    def made(names):
        return [tool(name, f"{name} alone", **{name: TEXT}) for name in names]

    found = grouped(made(old), made(new))
    groups = [found.kept, found.changed, found.added, tuple(found.renamed)]
    assert sorted(name for group in groups for name in group) == sorted(new)
    assert sorted((*found.kept, *found.changed, *found.retired)) == sorted(old)
    assert found.known == new


def episode(*trials):
    made = [
        Trial(
            trial_id=str(number),
            episode_id="e",
            tool="weather",
            episode_number=0,
            trial_number=number,
            query=query,
            query_text=query,
            memory_shown=0,
            turns=tuple(
                Turn(
                    reply_index=1,
                    reply_text="",
                    kind="tool_call",
                    tool="weather",
                    arguments_json=json.dumps(one),
                )
                for one in calls
            ),
            final_answer="",
            outcome="finished",
            solved="yes",
        )
        for number, (query, *calls) in enumerate(trials)
    ]
    return Episode(
        episode_id="e",
        tool="weather",
        tool_fingerprint="f",
        episode_number=0,
        messages=(),
        trials=tuple(made),
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["days"], ["in Oslo", "nothing"]),
        (["hours"], ["in Oslo", "for a week", "mended", "nothing"]),
        (["city"], ["for a week", "nothing"]),
        ([""], []),
    ],
)
def test_requests_stay_remembered_that_gave_nothing_that_changed(changed, expected):
    one = episode(
        ("in Oslo", {"city": "Oslo"}),
        ("for a week", {"days": 7}),
        ("mended", {"days": 7}, {"city": "Oslo"}),
        ("nothing",),
        ("", {"city": "Oslo"}),
    )
    assert remembered([one], changed) == tuple(
        MemoryEntry(query=query, solved="yes") for query in expected
    )


GROUPS = ToolGroups(
    kept=("same",),
    changed=("weather",),
    added=("other",),
    renamed={"exchange": "convert"},
    removed=("gone",),
)


def example(name="gone", **fields):
    values = {
        "example_id": "e1",
        "group_id": "g1",
        "trial_id": "t1",
        "tool": name,
        "query": "Where did it go?",
        "origin": "explored",
        "arguments_json": '{"x":"a"}',
        "observation": "there",
        "final_answer": "It went.",
        "split": "test",
        **fields,
    }
    return Example.model_validate(values)


def stays(one, groups=GROUPS):
    return Carried.of(groups).example(one.tool, one.near_tool, one.origin, one.group_id)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (example("same"), True),
        (example("weather"), False),
        (example("convert"), False),
        (example("gone"), False),
        (example("same", kind="confusable", near_tool="weather"), True),
        (example("same", kind="confusable", near_tool="gone"), False),
        (example("", origin="general"), True),
        (example("", origin="generated", kind="no_tool", near_tool="same"), True),
        (example("", origin="generated", kind="missing_argument", near_tool="weather"), False),
    ],
)
def test_examples_of_kept_tools_stay(one, expected):
    assert stays(one) is expected


def test_a_test_of_a_removed_tool_asks_for_one_that_is_not_there_until_it_comes_back():
    assert is_absent_source(example())
    assert not is_absent_source(example(origin="paraphrase"))
    assert not is_absent_source(example(kind="natural"))
    made = absent_test(example(), "same")
    assert not made.needs_call
    assert (made.kind, made.near_tool, made.split) == ("no_tool", "same", "test")
    assert made.query == example().query
    assert not made.arguments_json
    assert stays(made)
    assert not stays(made, ToolGroups(kept=("same",), added=("gone",)))
    assert not stays(made, ToolGroups(kept=(), removed=("same",)))  # nobody knows what is near


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("same", "tool_call", True),
        ("weather", "tool_call", False),
        ("gone", "final_answer", False),
        ("", "general", True),
        ("", "no_call", True),
        ("secret", "no_call", True),  # of a tool that was held out
        ("other", "no_call", False),  # which there is now
    ],
)
def test_rows_stay_that_are_true_still(name, kind, expected):
    assert Carried.of(GROUPS).row(name, kind) is expected


def rows(per_tool):
    calls = [
        RowKey(f"{name}{number}-{kind}", f"{name}{number}", name, split, kind)
        for name in ("a", "b")
        for number in range(per_tool)
        for split in ["validation" if number == 0 else "train"]
        for kind in ("tool_call", "final_answer")
    ]
    return [*calls, *(RowKey(f"g{number}", "", "", "train", "general") for number in range(200))]


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_whole_examples_are_replayed_in_proportion_and_validation_rows_all(fraction):
    given_rows = rows(21)
    quotas = replay_quotas({"a": 20, "b": 20}, fraction)
    mask = replayed(given_rows, quotas, fraction, 3, "update of x")
    taken = [row for row, one in zip(given_rows, mask, strict=True) if one]
    for name in ("a", "b"):
        of_tool = [row for row in taken if row.tool == name]
        training = {row.example_id for row in of_tool if row.split == "train"}
        assert len(training) == round(20 * fraction)
        assert len(of_tool) == 2 * (len(training) + 1)
    number = sum(row.kind == "general" for row in taken)
    assert abs(number - 200 * fraction) < 30
    assert number in (0, 200) or 0 < fraction < 1


def test_another_update_replays_other_examples():
    masks = [replayed(rows(41), {"a": 10, "b": 10}, 0.25, 3, label) for label in ("one", "two")]
    assert masks[0] == replayed(rows(41), {"a": 10, "b": 10}, 0.25, 3, "one")
    assert masks[0] != masks[1]


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 10_000))
def test_an_update_makes_as_many_passes_over_fewer_rows(steps, trained, total):
    trained = min(trained, total)
    found = share_of_steps(steps, trained, total)
    assert 1 <= found <= steps
    assert found - 1 < steps * trained / total <= found
    assert share_of_steps(0, trained, total) == 0


def score(key, name, outcome, kind="explicit"):
    return Score(
        example_id=key,
        setting="tuned/toolken",
        tool=name,
        outcome=outcome,
        num_gold_arguments=1,
        kind=kind,
    )


def test_forgetting_and_transfer_are_paired_on_the_same_tests_of_kept_tools():
    right, wrong = "correct", "wrong_arguments"
    before = [score(f"s{n}", "same", right if n < 8 else wrong) for n in range(10)]
    before += [score("w0", "weather", right), score("n0", "", right)]
    now = [score(f"s{n}", "same", right if n < 6 else wrong) for n in range(10)]
    now += [score("w1", "weather", right), score("o1", "other", wrong)]
    now += [score("n0", "", "needless_call"), score("a0", "", right, "no_tool")]
    found = update_figures(before, now, GROUPS, {"a0"}, seed=0)
    assert found.transfer is not None
    assert (found.transfer.n, found.transfer.only_first) == (10, 2)
    assert found.forgetting == pytest.approx(0.2)
    assert found.kept is not None
    assert found.kept.correct.share == 0.6
    assert found.learned is not None
    assert (found.learned.n, found.learned.correct.count) == (2, 1)
    assert found.absent is not None
    assert (found.absent.n, found.absent.restrained.share) == (1, 1.0)
    assert found.restraint_before is not None
    assert found.restraint is not None
    assert (found.restraint_before.restrained.count, found.restraint.restrained.count) == (1, 0)


def test_an_update_without_tests_of_a_group_has_no_figures_of_it():
    found = update_figures([], [score("o1", "other", "correct")], GROUPS, (), seed=0)
    assert (found.kept, found.transfer, found.absent, found.restraint) == (None,) * 4
    assert found.forgetting is None
    assert found.learned is not None


def test_a_request_of_a_tool_that_is_there_asks_for_none_that_is_gone():
    sources = [example(query=one) for one in ("Rain in Rome?", "rain in  ROME", "3 + 4", "3 - 4")]
    left = unclaimed(sources, iter(["Rain in Rome.", "3 + 4"]))
    assert [one.query for one in left] == ["3 - 4"]
    assert unclaimed(sources, []) == sources
