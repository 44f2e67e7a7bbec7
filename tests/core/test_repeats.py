"""Requests asked several times: shares against every choice of answers counted one by one."""

from __future__ import annotations

import itertools

import pytest

from ste_ray.core.inferring.settings import parse_settings
from ste_ray.core.inferring.variants import check_repeats, is_repeat, repeated, setting_of
from ste_ray.core.records import Score
from ste_ray.core.scoring.repeats import Repeated, repeated_settings
from ste_ray.core.scoring.statistics import cluster_bootstrap
from ste_ray.errors import ConfigError

# What came of each answer to a request, c: right; by tool, where an empty one is of no call.
ASKED = {
    "add": ("cccc", "ccwc", "wwww", "cwww"),
    "sub": ("wcwc", "cccc"),
    "": ("cccc", "cnnc"),
}
OUTCOMES = {"c": "correct", "w": "wrong_arguments", "n": "needless_call"}


def groups(asked: dict[str, tuple[str, ...]] = ASKED, times: int = 4) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for number in range(times):
        name = "base/icl" if not number else f"base/icl.repeat-{number + 1}"
        found[name] = [
            Score.model_validate(
                {
                    "example_id": f"{tool} {place}",
                    "setting": name,
                    "tool": tool,
                    "outcome": OUTCOMES[answers[number]],
                    "num_gold_arguments": 1,
                }
            )
            for tool, requests in asked.items()
            for place, answers in enumerate(requests)
        ]
    return found


def test_a_repetition_is_a_setting_of_its_own_beside_its_setting() -> None:
    settings = parse_settings(["tuned/toolken", "endpoint/native"])
    names = [one.name for one in repeated(settings, 3)]
    assert names == [
        *("tuned/toolken.repeat-2", "tuned/toolken.repeat-3"),
        *("endpoint/native.repeat-2", "endpoint/native.repeat-3"),
    ]
    assert next(one.folder_name for one in repeated(settings, 2)) == "tuned-toolken.repeat-2"
    assert [*map(setting_of, (names[0], "base/icl"))] == ["tuned/toolken", "base/icl"]
    assert is_repeat(names[0])
    assert not is_repeat("tuned/toolken")
    assert [*repeated(settings, 1)] == []


def test_greedy_answers_of_a_local_model_are_not_asked_for_twice() -> None:
    both = parse_settings(["endpoint/plain", "base/icl"])
    with pytest.raises(ConfigError, match=r"'base/icl' .* give a temperature above 0"):
        check_repeats(both, 3, 0.0)
    check_repeats(both, 3, 0.5)
    check_repeats(both, 1, 0.0)
    check_repeats(both[:1], 3, 0.0)  # servers answer differently at 0, too


def test_shares_are_those_of_all_choices_of_answers() -> None:
    (found,) = repeated_settings(groups(), seed=0)
    assert (found.setting, found.times) == ("base/icl", 4)
    for kind, tools in ((found.calls, ("add", "sub")), (found.no_call, ("",))):
        assert isinstance(kind, Repeated)
        answers = [one for tool in tools for one in ASKED[tool]]
        assert kind.n == len(answers)
        for j in range(1, 5):
            choices = [[*itertools.combinations(one, j)] for one in answers]
            once = [sum("c" in one for one in some) / len(some) for some in choices]
            always = [sum(set(one) == {"c"} for one in some) / len(some) for some in choices]
            assert kind.at_least_once[j - 1].share == pytest.approx(sum(once) / len(once))
            assert kind.always[j - 1].share == pytest.approx(sum(always) / len(always))
        flips = [len({"c"} & {*one}) == 1 and len({*one}) > 1 for one in answers]
        assert kind.flipping.share == pytest.approx(sum(flips) / len(flips))
        assert kind.always[0] == kind.at_least_once[0]
        for share in (*kind.at_least_once, *kind.always, kind.flipping):
            assert 0 <= share.interval.low <= share.share <= share.interval.high <= 1
            assert share.interval.low < share.interval.high


def test_requests_of_other_kinds_do_not_count() -> None:
    """What is right of them differs, and they may be asked only once."""
    found = groups()
    (plain,) = repeated_settings(found, seed=0)
    for kind, tool in (("confusable", "add"), ("natural", "sub"), ("missing_argument", "")):
        for name in ("base/icl", "base/icl.repeat-2"):
            first = found[name][0]
            changes = {"kind": kind, "tool": tool, "example_id": kind, "outcome": "wrong_arguments"}
            found[name] = [*found[name], first.model_copy(update=changes)]
    assert repeated_settings(found, seed=0) == (plain,)
    alone = {name: [one for one in scores if one.kind == "natural"]
             for name, scores in found.items()}  # fmt: skip
    assert repeated_settings(alone, seed=0) == ()


def test_what_never_varies_is_not_called_certain() -> None:
    (found,) = repeated_settings(groups({"add": ("cc", "cc"), "sub": ("cc",)}, 2), seed=0)
    assert found.no_call is None
    assert found.calls is not None
    assert (found.calls.always[-1].share, found.calls.flipping.share) == (1.0, 0.0)
    assert found.calls.always[-1].interval.low < 0.6
    assert found.calls.flipping.interval.high > 0.4


def test_settings_asked_once_have_none() -> None:
    assert repeated_settings({"base/icl": groups()["base/icl"]}, seed=0) == ()


def test_rounds_of_other_requests_are_refused() -> None:
    found = groups()
    found["base/icl.repeat-3"] = found["base/icl.repeat-3"][1:]
    with pytest.raises(ValueError, match=r"'add 0' was asked 3 times in 4 rounds of setting"):
        repeated_settings(found, seed=0)


def answered(
    requests: dict[str, tuple[int, int]], *, needs_call: bool = True, near: bool = True
) -> tuple[Repeated, ...]:
    """Requests by tool, so many always right and so many never, each asked three times."""
    found: dict[str, list[Score]] = {}
    for number in range(3):
        name = "base/icl" if not number else f"base/icl.repeat-{number + 1}"
        found[name] = [
            Score(
                example_id=f"{tool} {place}",
                setting=name,
                tool=tool if needs_call else "",
                near_tool="" if needs_call or not near else tool,
                outcome="correct"
                if place < right
                else "no_call"
                if needs_call
                else "needless_call",
                num_gold_arguments=0,
            )
            for tool, (right, wrong) in requests.items()
            for place in range(right + wrong)
        ]
    (one,) = repeated_settings(found, seed=3, num_resamples=500)
    return tuple(filter(None, (one.calls, one.no_call)))


@pytest.mark.parametrize("needs_call", [True, False])
def test_whole_tools_are_what_chance_draws(needs_call: bool) -> None:
    """Requests of a tool, or near to it, go wrong together: more of them say nothing more."""
    once = {f"tool {n:02d}": (1, 0) if n % 2 else (0, 1) for n in range(12)}
    often = {tool: (9 * right, 9 * wrong) for tool, (right, wrong) in once.items()}
    (few,), (many,) = (answered(one, needs_call=needs_call) for one in (once, often))
    assert (few.n, many.n) == (12, 108)
    expected = cluster_bootstrap([(n % 2, 1) for n in range(12)], seed=3, num_resamples=500)
    assert expected is not None
    for one in (few, many):
        for share in (*one.at_least_once, *one.always):
            assert (share.share, share.interval) == (0.5, expected)
    mixed = {tool: (5, 4) if right else (4, 5) for tool, (right, _) in once.items()}
    (even,) = answered(mixed, needs_call=needs_call)
    assert even.always[0].share == 0.5
    # Within tools that are much alike 108 requests say more than tools that differ.
    assert even.always[0].interval.high - even.always[0].interval.low < 0.2
    assert expected.high - expected.low > 0.5


def test_tools_weigh_as_many_requests_as_they_have() -> None:
    (found,) = answered({"a": (6, 2), "b": (1, 1), "c": (0, 4)})
    expected = cluster_bootstrap([(6, 8), (1, 2), (0, 4)], seed=3, num_resamples=500)
    assert (found.always[2].share, found.always[2].interval) == (7 / 14, expected)


def test_general_requests_stand_for_themselves() -> None:
    requests = {f"tool {n}": (9, 0) if n % 2 else (0, 9) for n in range(4)}
    (near,) = answered(requests, needs_call=False)
    (general,) = answered(requests, needs_call=False, near=False)
    expected = cluster_bootstrap(
        [(n % 2, 1) for n in range(4) for _ in range(9)], seed=3, num_resamples=500
    )
    assert general.always[0].interval == expected
    widths = [one.always[0].interval.high - one.always[0].interval.low for one in (general, near)]
    assert widths[0] < 0.5 * widths[1]
