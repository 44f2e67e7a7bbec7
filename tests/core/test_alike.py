"""Runs whose trials come to nothing for one cause are told from runs in which trials just fail."""

from __future__ import annotations

import pytest
from flow_examples import FINAL, call, called, episode, trial

from ste_ray.core.effects import ModelReply, ToolResult
from ste_ray.core.exploring.alike import Endings, cause_of
from ste_ray.core.records import Fault
from ste_ray.runtime.fakes import play

CUT = ModelReply(text="", reasoning="hm", finish_reason="length")
ENDED = ModelReply(text="", reasoning="hm")


def first_trial(*answers, **settings):
    return play(episode(**settings), answers)[0].trials[0]


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([CUT], "length"),
        ([ModelReply(text="", finish_reason="length")], "length"),
        ([ENDED], "reasoning"),
        ([""], "no_query"),
        ([ModelReply(text="", finish_reason="content_filter")], "content_filter"),
        ([ModelReply(text="", finish_reason="failed")], "failed"),
        (["q", ModelReply(text="", finish_reason="context_overflow")], "context_overflow"),
        (["q", CUT, CUT, "No"], "length"),
        (["q", ENDED, ENDED, "No"], "reasoning"),
        (["q", "hm", "hm", "No"], "format"),
        (["q", CUT, "hm", "No"], "format"),
        (["q", FINAL, CUT], "length"),
        (["q", FINAL, ENDED], "reasoning"),
        (["q", FINAL, "hm"], "no_verdict"),
        (["q", FINAL, ModelReply(text="", finish_reason="content_filter")], "content_filter"),
        # what is of use, or fails by itself
        (["q", FINAL, "Yes"], None),
        (["q", FINAL, "No"], None),
        (["q", call(1), ToolResult(status="error", text="e"), "hm", "No"], None),
        (["q", call(1), ToolResult(status="crashed", text="e"), call(2), "No"], None),
        (["q", call(1), ToolResult(status="interrupted", text="")], None),
    ],
)
def test_the_cause_of_a_trial(answers, cause):
    assert cause_of(first_trial(*answers, max_turns=1)) == cause


def test_a_trial_without_reflection_has_no_cause():
    assert cause_of(trial((called("ok"),), solved="not_asked")) is None


def test_a_mended_fault_is_no_cause():
    assert cause_of(trial((called("ok"),), faults=(Fault(kind="content_filter"),))) is None


def test_the_share_is_of_all_trials_and_needs_enough_of_them():
    endings = Endings(num_tools=3, num_trials=1000)
    endings.add("a", ["length"] * 10)
    endings.add("b", ["length"] * 9)
    assert endings.alike() is None  # 19 say nothing yet
    endings.add("b", [None])
    found = endings.alike()
    assert found is not None
    assert (found.cause, found.count, found.trials) == ("length", 19, 20)
    assert found.share == 0.95
    assert "19 of 20 trials ended alike (95%)" in str(found)
    assert "raise explore.max_tokens" in str(found)


@pytest.mark.parametrize(
    ("num_trials", "needed"), [(4, 4), (6, 4), (12, 6), (24, 12), (40, 20), (10_000, 20)]
)
def test_small_runs_need_half_of_their_trials(num_trials, needed):
    endings = Endings(1, num_trials)
    endings.add("a", ["format"] * (needed - 1))
    assert endings.alike() is None
    endings.add("a", ["format"])
    assert endings.alike() is not None


def test_one_odd_tool_among_others_says_nothing():
    endings = Endings(2, 100)
    endings.add("a", ["content_filter"] * 60)
    assert endings.alike() is None
    endings.add("b", ["content_filter"])
    assert endings.alike() is not None
    alone = Endings(1, 100)
    alone.add("a", ["content_filter"] * 60)
    assert alone.alike() is not None


def test_mixed_failures_are_none():
    endings = Endings(2, 100)
    for tool in "ab":
        endings.add(tool, ["length", "format", "no_verdict", None] * 10)
    assert endings.alike() is None
