"""Requests asked several times: shares against every choice of answers counted one by one."""

from __future__ import annotations

import itertools

import pytest

from ste_ray.core.inferring.settings import parse_settings
from ste_ray.core.inferring.variants import check_repeats, is_repeat, repeated, setting_of
from ste_ray.core.records import Score
from ste_ray.core.scoring.repeats import Repeated, repeated_settings
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
