"""What a gate found as text, Markdown and JUnit XML."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any

import pytest

from ste_ray.core.records import TestKind
from ste_ray.core.scoring.baseline import Answered, make_baseline
from ste_ray.core.scoring.gate import run_gate
from ste_ray.report.gate import GateReport, gate_markdown, gate_report, gate_text
from ste_ray.report.junit import gate_junit

NOW = 1_772_446_000.0
ODD = "a|b <b>`_x_`\x00\ud800"  # a tool's name as anything may be called


def outcomes(per_tool: int, wrong: dict[str, int], start: str = "") -> dict[str, Answered]:
    tools = [*(f"tool_{number}" for number in range(9)), ODD]
    return {
        f"{start}{tool} {number}": Answered(
            tool, "wrong_tool" if number < wrong.get(tool, 0) else "correct"
        )
        for tool in tools
        for number in range(per_tool)
    }


def report_of(before: dict[str, Answered], now: dict[str, Answered], **options: Any) -> GateReport:
    sides = [make_baseline({"tuned/toolken": one}, {}, "1") for one in (before, now)]
    result = run_gate(
        {"tuned/toolken": before}, {"tuned/toolken": now}, seed=0, num_resamples=200, **options
    )
    return gate_report(result, "s3://runs/now", sides[1], "gate/b.json", sides[0])


@pytest.fixture(scope="module")
def failed() -> GateReport:
    bounds = [("correct", 0.95), ("wellformed", 0.5)]
    return report_of(outcomes(12, {}), outcomes(12, {ODD: 12, "tool_1": 1}), bounds=bounds)


def test_the_table_has_all_figures_and_the_tools_that_changed(failed: GateReport) -> None:
    text = gate_text(failed)
    table = [
        line
        for line in text.splitlines()
        if re.search(r"^[^-].*(chance|worse|met|say|bound)$", line)
    ]
    assert [re.split(r"  +", line)[0] for line in table] == [
        "wellformed", "tool match", "correct", f"tool match of {ODD}", f"correct of {ODD}",
        "correct, at least 95.0%", "wellformed, at least 50.0%",
    ]  # fmt: skip
    assert re.split(r"  +", table[2])[1:4] == ["100.0%", "89.2%", "−10.8"]
    assert table[3].endswith("worse")
    assert table[5].endswith("below its bound")
    assert table[6].endswith("met")
    assert "of single tools: 18 figures within chance" in text
    assert "120 requests of 10 tools, each compared with itself" in text


def test_every_figure_says_which_loss_would_be_found() -> None:
    small = report_of(outcomes(2, {}), outcomes(2, {"tool_1": 1}))
    reached = [one.found_from for one in small.result.rows if not one.tool]
    assert all(one is not None and 0.1 < one < 1 for one in reached)
    shown = f"{100 * (reached[2] or 0):.1f}"
    assert f"of correct, {shown} points would be found" in small.headline
    assert f"−{shown}" in gate_text(small)
    nothing = report_of({"x": Answered("add", "correct")}, {"x": Answered("add", "malformed")})
    assert nothing.headline == "gate passed, but the test set is too small to say anything"


def test_no_loss_is_promised_that_is_more_than_there_is() -> None:
    """Of a share of 5 % no 20 points can be lost; nor can a set that finds nothing promise any."""
    bad = {f"tool_{number}": 12 for number in range(9)}
    report = report_of(outcomes(12, bad), outcomes(12, bad | {ODD: 1}))
    (correct,) = [one for one in report.result.rows if (one.figure, one.tool) == ("correct", "")]
    assert correct.verdict == "too few to say"
    assert correct.found_from
    nothing = report_of(outcomes(12, bad | {ODD: 12}), outcomes(12, bad | {ODD: 12}))
    (correct,) = [one for one in nothing.result.rows if (one.figure, one.tool) == ("correct", "")]
    assert (correct.found_from or 0) > correct.baseline == 0
    assert "would be found)" not in nothing.headline
    assert report.headline == "gate passed: no figure is worse by more than chance explains"


def test_other_requests_are_said_to_be_no_pairs() -> None:
    shown = gate_text(report_of(outcomes(12, {}), outcomes(10, {}, "new ")))
    assert "the test requests differ (0 are the same), so they are not paired" in shown
    # What is true of pairs alone is said of pairs alone.
    assert "if none is gained" not in shown
    assert "where requests are not paired the more cautious of two" in shown
    paired = gate_text(report_of(outcomes(12, {}), outcomes(12, {})))
    assert "requests on, if none is gained\n" in paired
    assert "worse: exact tests, corrected" in paired


def of_kind(kind: TestKind, right: int, start: str = "") -> dict[str, Answered]:
    """Thirty requests of ten tools."""
    calls = kind != "missing_argument"
    return {
        f"{start}{kind} {at}": Answered(
            f"tool_{at % 10}" if calls else "", "correct" if at < right else "malformed", kind
        )
        for at in range(30)
    }


def test_kinds_alone_are_shown_everywhere() -> None:
    report = report_of(of_kind("natural", 25), of_kind("natural", 2))
    assert report.headline == "gate failed; worse: correct, natural −76.7"
    assert "tuned/toolken, natural: 30 requests of 10 tools, each compared with" in gate_text(
        report
    )
    (suite,) = ET.fromstring(gate_junit(report, NOW).encode())
    assert (suite.get("name"), suite.get("failures")) == (
        "ste-ray evaluate --gate tuned/toolken",
        "1",
    )
    (test,) = suite.iter("testcase")
    assert test.get("name") == "correct, natural"


def test_settings_of_kinds_alone_are_told_apart() -> None:
    sides = {"a": of_kind("natural", 25), "b": of_kind("natural", 25)}
    saved = make_baseline(sides, {}, "1")
    result = run_gate(sides, sides, seed=0, num_resamples=20)
    report = gate_report(result, "now", saved, "b.json", saved)
    assert re.findall(r"(?m)^([ab]) +correct, natural ", gate_text(report)) == ["a", "b"]
    assert len(ET.fromstring(gate_junit(report, NOW).encode())) == 2


def test_kinds_that_are_gone_are_told() -> None:
    both = of_kind("missing_argument", 20) | of_kind("natural", 25)
    report = report_of(outcomes(6, {}) | both, outcomes(6, {}))
    assert report.headline.startswith("gate passed: no figure is worse")
    assert report.headline.endswith(
        "; not compared: correct, natural, restrained, missing argument"
    )
    told = (
        "not compared: correct, natural (the run has no such requests in common with the baseline,"
        " of which 30 are left out)"
    )
    assert f"tuned/toolken: {told}" in report.notes
    root = ET.fromstring(gate_junit(report, NOW).encode())
    skipped = {one.get("name"): one.find("skipped") for one in root.iter("testcase")}
    assert skipped["restrained, missing argument"] is not None
    assert skipped["correct"] is None
    message = skipped["correct, natural"]
    assert message is not None
    assert message.get("message") == told


def test_new_kinds_are_told() -> None:
    report = report_of(outcomes(6, {}), outcomes(6, {}) | of_kind("natural", 25))
    assert (
        "tuned/toolken, natural: 30 requests only of the run are compared with none" in report.notes
    )
    assert "not compared" not in report.headline


def test_pairs_are_said_of_what_is_paired() -> None:
    before = outcomes(6, {}) | of_kind("natural", 25)
    report = report_of(before, outcomes(6, {}) | of_kind("natural", 25, "other "))
    text = gate_text(report)
    assert "tuned/toolken: 60 requests of 10 tools, each compared with itself" in text
    assert "tuned/toolken, natural: the test requests differ (0 are the same)" in text
    assert "where requests are not paired the more cautious of two" in text


def test_versions_that_scored_otherwise_are_told() -> None:
    found = outcomes(2, {})
    sides = [make_baseline({"s": found}, {}, version) for version in ("1.0", "2.0")]
    result = run_gate({"s": found}, {"s": found}, seed=0)
    notes = gate_report(result, "now", sides[1], "b.json", sides[0]).notes
    assert any("scored by ste-ray 1.0, the run by 2.0" in note for note in notes)


def test_markdown_has_tables_and_parts_that_open(failed: GateReport) -> None:
    page = gate_markdown(failed)
    assert page.startswith("### ste-ray: gate failed; worse: ")
    assert page.count("<details>") == page.count("</details>") == 2
    # GitHub reads Markdown again only behind an empty line.
    assert all(
        re.match(r"\n<summary>.+</summary>\n\n", part) for part in page.split("<details>")[1:]
    )
    tables = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
        assert {len(row) for row in rows} == {8}
    assert len(tables[1].splitlines()) == 2 + 20
    assert "<b>" not in page
    assert "**below its bound**" in page


def test_json_is_json(failed: GateReport) -> None:
    text = json.dumps(failed.model_dump(mode="json", exclude={"notes"}), allow_nan=False)
    assert json.loads(text)["result"]["failed"] is True


# What Ant's schema for JUnit's results asks for; Jenkins' asks for less.
SUITE = {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped",
         "time"}  # fmt: skip
TEST = {"name", "classname", "time"}
OUTCOME = {"failure": {"message", "type"}, "skipped": {"message"}}


def test_junit_has_the_form_of_its_schema(failed: GateReport) -> None:
    small = report_of(outcomes(2, {}), outcomes(2, {}))
    for report in (failed, small):
        root = ET.fromstring(gate_junit(report, NOW).encode())
        assert (root.tag, root.attrib) == ("testsuites", {})
        for number, suite in enumerate(root):
            assert (suite.tag, set(suite.attrib)) == ("testsuite", SUITE)
            assert suite.get("id") == str(number)
            datetime.strptime(suite.get("timestamp", ""), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
            first, *tests, out, err = suite
            assert (first.tag, out.tag, err.tag) == ("properties", "system-out", "system-err")
            assert all(set(one.attrib) == {"name", "value"} for one in first)
            assert all((one.tag, set(one.attrib)) == ("testcase", TEST) for one in tests)
            found = [child for one in tests for child in one]
            assert all(len(one) <= 1 for one in tests)
            assert all(set(one.attrib) == OUTCOME[one.tag] for one in found)
            assert suite.get("tests") == str(len(tests))
            assert suite.get("failures") == str([one.tag for one in found].count("failure"))
            assert suite.get("skipped") == str([one.tag for one in found].count("skipped"))


def test_junit_fails_what_is_worse_and_skips_what_is_too_few(failed: GateReport) -> None:
    def names(report: GateReport, tag: str) -> list[str]:
        root = ET.fromstring(gate_junit(report, NOW).encode())
        return [one.get("name", "") for one in root.iter("testcase") if one.find(tag) is not None]

    odd = ODD.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert names(failed, "failure") == [
        f"tool match of {odd}", f"correct of {odd}", "correct, at least 95.0%"
    ]  # fmt: skip
    assert len(names(report_of(outcomes(2, {}), outcomes(2, {})), "skipped")) == 20


def test_junit_is_read_by_others(failed: GateReport) -> None:
    junitparser = pytest.importorskip("junitparser", reason="comes with 'make venv'")
    (suite,) = junitparser.JUnitXml.fromstring(gate_junit(failed, NOW).encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (25, 3, 0, 0)
    (bound,) = [one for one in suite if one.name == "correct, at least 95.0%"]
    assert [one.message for one in bound.result] == ["89.2% of 120 requests"]
