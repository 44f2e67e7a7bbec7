"""Makes the tests of one kind and tool, as a flow: written, executed, judged, kept or dropped.

Of a test with a right call, that call is really executed first; then the request is written; then
the judge, who is told neither, must come to the same call, or to one that returns the same. Of a
test where no call is right, the judge must find the same value missing, or no tool that fits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ste_ray.core.effects import CallTool, Flow, ToolResult
from ste_ray.core.preparing.mixing import draw_number
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.prompts import PromptSet, describe_tool, describe_tools
from ste_ray.core.records import MadeTest, TestKind, text_fingerprint
from ste_ray.core.replies.parsing import ToolCall
from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.test_making.checking import Asks, Check, Declines, Unread, check_flow
from ste_ray.core.test_making.writing import (
    Told,
    copy_fault,
    taken_out_fault,
    told_arguments,
    write_flow,
)
from ste_ray.core.tool_specs import ToolSpec

T = TypeVar("T")

# So many are tried for each that is wanted, as far as there are requests to make them of.
TRIES = 2


class Source(NamedTuple):
    """A request of the test split, with the call that answers it."""

    trial_id: str
    query: str
    arguments_json: str


@dataclass(frozen=True)
class Wanted:
    """The tests that one flow makes.

    Attributes:
        kind: of all of them.
        tool: that they are about.
        number: how many are to be kept.
        sources: what they are made of, in the order in which they are tried.
        others: the tools that are likest to it, the likest first.
        retrieved: returns the tools that a model is offered with a request; the same each time.
        near: the tool that is taken for it; None: there is none.
        not_executed: why calls of it cannot be executed; empty: they can.
    """

    kind: TestKind
    tool: ToolSpec
    number: int
    sources: Sequence[Source]
    others: Sequence[ToolSpec]
    retrieved: Callable[[str], Sequence[ToolSpec]]
    near: ToolSpec | None
    not_executed: str

    @property
    def scope(self) -> str:
        """Identity of the flow in the journal."""
        return f"tests-{self.kind}-{self.tool.name}"


@dataclass(frozen=True)
class Material:
    """What tests are made with.

    Attributes:
        prompts: the templates.
        seed: of what is drawn.
        temperature: of the judge.
    """

    prompts: PromptSet
    seed: int
    temperature: float


def make_tests_flow(wanted: Wanted, material: Material) -> Flow[list[MadeTest]]:
    """Make tests until as many are kept as are wanted, or nothing is left to make them of.

    Returns:
        What was made, dropped tests with the step and the reason.
    """
    maker = _Maker(wanted, material)
    made: list[MadeTest] = []
    kept = 0
    if problem := maker.problem:
        return [maker.test("", "", dropped=("select", problem))]
    for source in maker.sources():
        if kept >= wanted.number:
            break
        one = yield from maker.make(source, [test.query for test in made])
        made.append(one)
        kept += one.status == "kept"
    if not made:
        reason = "no request of the tool is in the test split"
        made.append(maker.test("", "", dropped=("select", reason)))
    return made


class _Maker:
    """Makes one test after the other."""

    def __init__(self, wanted: Wanted, material: Material) -> None:
        self._wanted, self._material = wanted, material
        self._spec, self._prompts = wanted.tool, material.prompts

    @property
    def problem(self) -> str:
        """Why none can be made; empty: it is tried."""
        solvable = self._wanted.kind in ("natural", "indirect", "confusable")
        if solvable and self._wanted.not_executed:
            return f"the right call cannot be executed: {self._wanted.not_executed}"
        if self._wanted.kind == "confusable" and self._wanted.near is None:
            return "no tool is easily taken for it"
        return ""

    def sources(self) -> Sequence[Source]:
        number = TRIES * self._wanted.number
        if self._wanted.kind == "no_tool":
            return [Source("", "", "{}") for _ in range(number)]
        return self._wanted.sources[:number]

    def make(self, source: Source, earlier: Sequence[str]) -> Flow[MadeTest]:
        if self._wanted.kind == "missing_argument":
            return self._without_argument(source)
        if self._wanted.kind == "no_tool":
            return self._near_miss(earlier)
        return self._solvable(source)

    def _solvable(self, source: Source) -> Flow[MadeTest]:
        wanted = self._wanted
        gold: ToolResult = yield from self._execute(self._spec.name, source.arguments_json)
        if gold.status != "ok":
            reason = f"the right call ended otherwise than well ({gold.status})"
            return self.test(source.query, source.trial_id, dropped=("execute", reason))
        near = (
            {"other": describe_tool(wanted.near)}
            if wanted.kind == "confusable" and wanted.near
            else {}
        )
        prompt = self._prompts.render(
            f"test_{wanted.kind}",
            query=source.query,
            tool=describe_tool(self._spec),
            arguments=source.arguments_json,
            **near,
        )
        text, reason = yield from write_flow(
            prompt, lambda written: copy_fault(written, source.query), self._prompts
        )
        if reason:
            return self.test(text, source.trial_id, dropped=("write", reason))
        check: Check = yield from self._check(text)
        reason = yield from self._disagreement(check, source, gold)
        return self.test(text, source.trial_id, check, dropped=("check", reason))

    def _disagreement(self, check: Check, source: Source, gold: ToolResult) -> Flow[str]:
        """Return why the judge's call is not the right one; empty: it is, or returns the same."""
        judged = check.judged
        if not isinstance(judged, ToolCall):
            return _told(check)
        if judged.tool != self._spec.name:
            return "the judge calls another tool"
        right = json.loads(source.arguments_json)
        differences = compare_arguments(right, judged.arguments, self._spec.parameters)
        if not differences:
            return ""
        other: ToolResult = yield from self._execute(judged.tool, judged.arguments_json)
        if (other.status, other.text) == ("ok", gold.text):
            return ""
        return "the judge calls it with other arguments, and another result"

    def _without_argument(self, source: Source) -> Flow[MadeTest]:
        told = told_arguments(self._spec, source.query, source.arguments_json)
        if not told:
            reason = "the request tells no required value that could be taken out"
            return self.test(source.query, source.trial_id, dropped=("select", reason))
        missing = min(told, key=lambda one: self._draw(f"{source.trial_id} {one.name}"))
        others = [one for one in told if one != missing]
        prompt = self._prompts.render(
            "test_missing_argument",
            query=source.query,
            tool=describe_tool(self._spec),
            argument=missing.name,
            written=missing.written,
        )
        text, reason = yield from write_flow(
            prompt, lambda written: taken_out_fault(written, missing, others), self._prompts
        )
        if reason:
            return self.test(text, source.trial_id, missing=missing, dropped=("write", reason))
        check: Check = yield from self._check(text)
        reason = _told(check)
        if isinstance(check.judged, Asks):
            right = check.judged.tool == self._spec.name and missing.name in check.judged.arguments
            reason = "" if right else "the judge misses another value"
        return self.test(text, source.trial_id, check, missing=missing, dropped=("check", reason))

    def _near_miss(self, earlier: Sequence[str]) -> Flow[MadeTest]:
        listed = "\n".join(f"- {text}" for text in earlier) or "(none)"
        prompt = self._prompts.render(
            "test_no_tool",
            tool=describe_tool(self._spec),
            others=describe_tools(self._wanted.others),
            earlier=listed,
        )
        known = {normalise(text) for text in earlier}

        def fault(written: str) -> str:
            return "it was written already" if normalise(written) in known else ""

        text, reason = yield from write_flow(prompt, fault, self._prompts)
        if reason:
            return self.test(text, "", dropped=("write", reason))
        check: Check = yield from self._check(text)
        reason = "" if isinstance(check.judged, Declines) else _told(check)
        return self.test(text, "", check, dropped=("check", reason))

    def _check(self, text: str) -> Flow[Check]:
        """Ask the judge, who sees the tool among those like it and those near to the request.

        The request decides what a model will be offered with it, and what of that may fit as well.
        """
        wanted = self._wanted
        seen = (wanted.tool, *wanted.others, *wanted.retrieved(text))
        offered = {one.name: one for one in seen}
        if wanted.kind == "confusable" and wanted.near:
            offered[wanted.near.name] = wanted.near
        order = sorted(offered, key=lambda name: (self._draw(f"{text} {name}"), name))
        tools = [offered[name] for name in order]
        return (yield from check_flow(text, tools, self._prompts, self._material.temperature))

    def _execute(self, tool: str, arguments_json: str) -> Flow[ToolResult]:
        result = yield CallTool(tool=tool, arguments_json=arguments_json, account=tool)
        assert isinstance(result, ToolResult)
        return result

    def _draw(self, text: str) -> int:
        return draw_number(text, self._material.seed, f"tests {self._wanted.kind}")

    def test(
        self,
        query: str,
        trial_id: str,
        check: Check | None = None,
        *,
        missing: Told | None = None,
        dropped: tuple[str, str],
    ) -> MadeTest:
        """Return a test; it is kept where there is no reason to drop it."""
        wanted = self._wanted
        step, reason = dropped
        needs_call = wanted.kind in ("natural", "indirect", "confusable")
        near = wanted.near.name if wanted.kind == "confusable" and wanted.near else ""
        return MadeTest(
            test_id=text_fingerprint(wanted.kind, wanted.tool.name, trial_id, query),
            kind=wanted.kind,
            about=wanted.tool.name,
            near_tool=near if needs_call else wanted.tool.name,
            missing=missing.name if missing else "",
            trial_id=trial_id,
            query=query,
            status="dropped" if reason else "kept",
            step=step,
            reason=reason,
            judgement=check.reply_text if check else "",
        )


def _told(check: Check) -> str:
    """Return what the judge found instead of what was expected."""
    judged = check.judged
    if isinstance(judged, Unread):
        return f"unparsable judgement: {judged.problem}"
    if isinstance(judged, Asks):
        return "the judge misses a value"
    return (
        "the judge finds no tool that fits"
        if isinstance(judged, Declines)
        else "the judge calls a tool"
    )


def sources_in_order(sources: Mapping[str, T], seed: int, kind: TestKind) -> list[T]:
    """Return sources in the order in which those of a kind are tried; keys are trial ids."""
    order = sorted(sources, key=lambda key: (draw_number(key, seed, f"source {kind}"), key))
    return [sources[key] for key in order]
