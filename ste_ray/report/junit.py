"""What a gate found as JUnit XML, which CI systems show beside the tests.

A setting is a test suite, a figure or a bound a test. What is worse has failed; what too few
requests were tested for, or none that the baseline has, is skipped; all else has passed. It is of
the form of Ant's JUnit task, the strictest in use: every attribute and element is there, and in its
order.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

from ste_ray.report.gate import GateReport, bound_name, row_name, row_sentence
from ste_ray.report.gate_notes import figure_name, gone_sentence
from ste_ray.report.numbers import percent

_SUITE = "ste-ray evaluate --gate"
# What XML 1.0 cannot hold, in whatever form.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_junit(report: GateReport, now: float) -> str:
    """Return the XML document of a gate.

    Args:
        report: what it found.
        now: in seconds since 1970.
    """
    root = ET.Element("testsuites")
    result = report.result
    for number, setting in enumerate(result.settings):
        tests = [*_figures(report, setting), *_gone(report, setting), *_bounds(report, setting)]
        outcomes = [child.tag for test in tests for child in test]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_text(f"{_SUITE} {setting}"),
            package="ste-ray",
            id=str(number),
            timestamp=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            hostname="localhost",
            tests=str(len(tests)),
            failures=str(outcomes.count("failure")),
            errors="0",
            skipped=str(outcomes.count("skipped")),
            time="0",
        )
        properties = ET.SubElement(suite, "properties")
        for name, value in (("run", report.run), ("baseline", report.baseline)):
            ET.SubElement(properties, "property", name=name, value=_text(value))
        suite.extend(tests)
        ET.SubElement(suite, "system-out").text = _text("\n".join(report.notes))
        ET.SubElement(suite, "system-err").text = ""
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _figures(report: GateReport, setting: str) -> list[ET.Element]:
    tests = []
    for row in report.result.rows:
        if row.setting != setting:
            continue
        test = _test(setting, row_name(row))
        if row.verdict == "worse":
            _outcome(test, "failure", row_sentence(row), type="worse")
        elif row.verdict == "too few to say":
            _outcome(test, "skipped", row_sentence(row))
        tests.append(test)
    return tests


def _gone(report: GateReport, setting: str) -> list[ET.Element]:
    tests = []
    for one in report.result.compared:
        for figure in one.gone if one.setting == setting else ():
            test = _test(setting, figure_name(figure, one.kind))
            _outcome(test, "skipped", gone_sentence(one))
            tests.append(test)
    return tests


def _bounds(report: GateReport, setting: str) -> list[ET.Element]:
    tests = []
    for bound in report.result.bounds:
        if bound.setting != setting:
            continue
        test = _test(setting, bound_name(bound))
        if not bound.met:
            sentence = f"{percent(bound.share)} of {bound.n:,} requests"
            _outcome(test, "failure", sentence, type="below its bound")
        tests.append(test)
    return tests


def _test(setting: str, name: str) -> ET.Element:
    return ET.Element("testcase", classname=_text(f"ste-ray.{setting}"), name=_text(name), time="0")


def _outcome(test: ET.Element, tag: str, sentence: str, **attributes: str) -> None:
    attributes["message"] = text = _text(sentence)
    ET.SubElement(test, tag, attributes).text = text


def _text(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
