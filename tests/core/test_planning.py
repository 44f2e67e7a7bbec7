"""The adaptive plan: who gets episodes, how many, and when a tool is closed."""

from __future__ import annotations

from collections.abc import Callable, Collection

from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.coverage.findings import Findings
from ste_ray.core.coverage.planning import (
    ENOUGH_VALUES,
    PlanRound,
    Progress,
    Rules,
    next_round,
)

BRANCHES = tuple(f"b{n}" for n in range(20))
Brings = Callable[[str, int], Findings]


def findings(tool: str, number: int, *visited: str, failed: int = 0, **more: tuple[str, ...]):
    return Findings(
        tool=tool, number=number, trials=4, failed=failed, visited=tuple(sorted(visited)), **more
    )


def planned(
    tools: Collection[str], rules: Rules, brings: Brings, stopped: Collection[str] = ()
) -> tuple[list[PlanRound], dict[str, Progress]]:
    """Follow a plan to its end; stopped tools have their first episodes only."""
    progress = {name: Progress(BRANCHES, ("free",)) for name in tools}
    granted = dict.fromkeys(tools, 0)
    closed: set[str] = set()
    rounds: list[PlanRound] = []
    while not rounds or rounds[-1].grants:
        out = stopped if rounds else ()
        rounds.append(next_round(progress, granted, closed, rules, number=len(rounds), stopped=out))
        granted |= {grant.tool: grant.episodes for grant in rounds[-1].grants}
        closed |= {one.tool for one in rounds[-1].closed}
        for grant in rounds[-1].grants:
            one = progress[grant.tool]
            while one.episodes < grant.episodes:
                one.add(brings(grant.tool, one.episodes))
    return rounds, progress


@st.composite
def explorations(draw: st.DrawFn) -> tuple[list[str], Rules, Brings, set[str]]:
    names = [f"t{n}" for n in range(draw(st.integers(1, 7)))]
    rules = Rules(draw(st.integers(1, 8)), trials=4, patience=draw(st.integers(1, 4)))
    seed = draw(st.randoms(use_true_random=False))
    brought = {
        (name, number): findings(
            name,
            number,
            *seed.sample(BRANCHES, seed.choice((0, 0, 1, 3))),
            failed=seed.randrange(5),
        )
        for name in names
        for number in range(rules.most)
    }
    stopped = set(seed.sample(names, seed.randrange(len(names))))
    return names, rules, lambda name, number: brought[name, number], stopped


@given(explorations())
def test_a_plan_keeps_to_its_rules_and_is_the_same_again(
    exploration: tuple[list[str], Rules, Brings, set[str]],
) -> None:
    names, rules, brings, stopped = exploration
    rounds, progress = planned(names, rules, brings, stopped)
    assert planned(list(reversed(names)), rules, brings, stopped)[0] == rounds
    given_out = sum(one.episodes for one in progress.values())
    assert given_out + rounds[-1].left <= rules.episodes * len(names)
    assert all(rules.least <= one.episodes <= rules.most for one in progress.values())
    closed = {one.tool for each in rounds for one in each.closed}
    for name, one in progress.items():
        assert (name in closed) <= (one.barren >= rules.patience)
        if name in stopped:
            assert one.episodes == rules.least
        elif given_out < rules.episodes * len(names):  # episodes are left: nobody may want them
            assert one.barren >= rules.patience or one.episodes == rules.most
    for each in rounds[1:]:
        assert [grant.tool for grant in each.grants] == sorted({g.tool for g in each.grants})
        assert all(grant.reasons for grant in each.grants)


def test_episodes_of_a_tool_without_news_go_to_one_that_still_learns() -> None:
    def brings(tool: str, number: int) -> Findings:
        return findings(tool, number, BRANCHES[0 if tool == "dull" else number])

    _, progress = planned(["dull", "rich"], Rules(6, trials=4, patience=2), brings)
    assert {name: one.episodes for name, one in progress.items()} == {"dull": 2, "rich": 10}


def test_tools_whose_last_episodes_brought_nothing_are_closed() -> None:
    def brings(tool: str, number: int) -> Findings:
        return findings(tool, number, BRANCHES[0 if tool == "dull" else min(number, 4)])

    rounds, _ = planned(["dull", "rich"], Rules(6, trials=4, patience=2), brings)
    closed = {one.tool: one for each in rounds for one in each.closed}
    assert (closed["dull"].episodes, closed["dull"].branches, closed["dull"].known) == (3, 1, 20)
    assert (closed["rich"].episodes, closed["rich"].branches) == (7, 5)
    assert (rounds[-1].grants, rounds[-1].left) == ((), 2)


def test_no_tool_gets_more_than_twice_its_share() -> None:
    def brings(tool: str, number: int) -> Findings:
        return findings(tool, number, *([BRANCHES[number]] if tool == "rich" else []))

    tools = ["dull", "even", "flat", "rich"]
    rounds, progress = planned(tools, Rules(4, trials=4, patience=1), brings)
    assert [progress[name].episodes for name in tools] == [2, 2, 2, 8]
    assert rounds[-1].left == 2


def test_of_two_open_tools_the_one_with_more_to_learn_goes_first():
    tools = {name: Progress(BRANCHES, ()) for name in ("failing", "known", "other", "wide")}
    tools["failing"].add(findings("failing", 0, *BRANCHES, failed=2))
    tools["known"].add(findings("known", 0, *BRANCHES))
    tools["other"].add(findings("other", 0, *BRANCHES))
    tools["wide"].add(findings("wide", 0, *BRANCHES[:3]))
    granted = dict.fromkeys(tools, 1)
    rules = Rules(3, trials=4, patience=1)
    one = next_round(tools, granted, (), rules, number=1)
    assert [grant.tool for grant in one.grants] == ["failing", "wide"]
    assert one.grants[0].reasons == ("50% of the last trials failed",)
    assert one.grants[1].reasons == ("17 of 20 branches not visited, such as b3",)
    two = next_round(
        tools, granted, (), rules, number=1, confused={"known": "other"}, stopped=("wide",)
    )
    assert [grant.tool for grant in two.grants] == ["failing", "known"]
    assert two.grants[1].reasons == ("taken for other",)


def test_what_only_failed_promises_less_than_what_nobody_tried():
    tools = {name: Progress(BRANCHES[:4], ()) for name in ("hopeless", "new")}
    tools["hopeless"].add(findings("hopeless", 0, "b0", tried=("b1", "b2", "b3")))
    tools["new"].add(findings("new", 0, "b0"))
    one = next_round(tools, dict.fromkeys(tools, 1), (), Rules(3, 4, 2), number=1)
    assert [grant.tool for grant in one.grants] == ["new"]


def test_new_values_are_news_until_there_are_enough():
    one = Progress((), ("free",))
    for number in range(ENOUGH_VALUES):
        one.add(findings("t", number, values=(f"free={number}",)))
        assert one.barren == 0
    one.add(findings("t", ENOUGH_VALUES, values=("free=another",)))
    assert one.barren == 1
    assert one.lacking == {}


def test_the_first_solved_trial_is_news():
    one = Progress((), ())
    one.add(findings("t", 0, failed=4))
    assert one.barren == 1
    one.add(findings("t", 1, failed=3))
    assert one.barren == 0
    one.add(findings("t", 2))
    assert one.barren == 1
