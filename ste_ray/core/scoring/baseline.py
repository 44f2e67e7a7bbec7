"""What an evaluation leaves to be compared with: the outcome of every request, without the run.

A request is known by a hash of what was asked and what is right, so that later evaluations of the
same requests can be paired with it, whatever their examples are called. Its text is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

from pydantic import Field, ValidationError

from ste_ray.core.records import Record, Score, TestKind, canonical_json, text_fingerprint
from ste_ray.errors import StageInputError

FORMAT: Literal["ste-ray/baseline"] = "ste-ray/baseline"
VERSION: Literal[1] = 1
_OUTCOMES = frozenset(get_args(Score.model_fields["outcome"].annotation))


class Answered(NamedTuple):
    """The outcome of one request.

    Attributes:
        tool: empty where no call is right.
        outcome: as in its score.
        kind: of the request.
        near_tool: where no call is right, the tool that a wrong one is likely to be of; empty: it
            is near to none, or that is not known.
    """

    tool: str
    outcome: str
    kind: TestKind = "explicit"
    near_tool: str = ""


Outcomes = Mapping[str, Answered]  # by the identity of the request


class Baseline(Record):
    """The outcomes of an evaluation in one or more settings.

    Attributes:
        format: says what the file is.
        schema_version: of this record.
        code_version: that decided the outcomes.
        settings: names, in the order of the outcomes.
        by_judge: of each setting how many outcomes a judge decided.
        requests: by tool and request the outcome in each setting; None: it was not tested there.
        kinds: of the requests that are not explicit.
        near_tools: of the requests that need no call and are near to a tool.
    """

    format: Literal["ste-ray/baseline"] = FORMAT
    schema_version: Literal[1] = VERSION
    code_version: str
    settings: tuple[str, ...] = Field(min_length=1)
    by_judge: tuple[int, ...]
    requests: dict[str, dict[str, tuple[str | None, ...]]]
    kinds: dict[str, TestKind] = Field(default_factory=dict, exclude_if=lambda found: not found)
    near_tools: dict[str, str] = Field(default_factory=dict, exclude_if=lambda found: not found)

    def outcomes(self, setting: str) -> dict[str, Answered]:
        """Return the outcomes of one of the settings."""
        place = self.settings.index(setting)
        return {
            request: Answered(
                tool,
                outcome,
                self.kinds.get(request, "explicit"),
                self.near_tools.get(request, ""),
            )
            for tool, requests in self.requests.items()
            for request, outcomes in requests.items()
            if (outcome := outcomes[place]) is not None
        }


def make_baseline(
    outcomes: Mapping[str, Outcomes], by_judge: Mapping[str, int], code_version: str
) -> Baseline:
    """Return the baseline of the outcomes of settings, in their order."""
    tools = {request: one.tool for found in outcomes.values() for request, one in found.items()}
    requests: dict[str, dict[str, tuple[str | None, ...]]] = {}
    for request, tool in sorted(tools.items(), key=lambda item: (item[1], item[0])):
        requests.setdefault(tool, {})[request] = tuple(
            found[request].outcome if request in found else None for found in outcomes.values()
        )
    return Baseline(
        code_version=code_version,
        settings=tuple(outcomes),
        by_judge=tuple(by_judge.get(setting, 0) for setting in outcomes),
        requests=requests,
        kinds={
            request: one.kind
            for found in outcomes.values()
            for request, one in sorted(found.items())
            if one.kind != "explicit"
        },
        near_tools={
            request: one.near_tool
            for found in outcomes.values()
            for request, one in sorted(found.items())
            if one.near_tool
        },
    )


def baseline_text(baseline: Baseline) -> str:
    """Return the content of a baseline's file: a line a request, the same for the same outcomes."""
    head = baseline.model_dump(mode="json", exclude={"requests"})
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    tools = []
    for tool, requests in sorted(baseline.requests.items()):
        rows = ",\n".join(
            f"   {json.dumps(request)}: {canonical_json(outcomes)}"
            for request, outcomes in sorted(requests.items())
        )
        tools.append(f"  {json.dumps(tool)}: {{\n{rows}\n  }}")
    body = ",\n".join(tools)
    return "\n".join(["{", *lines, f' "requests": {{\n{body}\n }}', "}", ""])


def parse_baseline(data: bytes, source: str) -> Baseline:
    """Read a baseline's file.

    Raises:
        StageInputError: it is none, or of another version.
    """
    remedy = "give what 'ste-ray evaluate --save-baseline FILE' writes, or a run"
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StageInputError(f"the baseline {source!r} is no JSON ({error}); {remedy}") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise StageInputError(f"{source!r} is no baseline; {remedy}")
    if value.get("schema_version") != VERSION:
        raise StageInputError(
            f"the baseline {source!r} has the schema version {value.get('schema_version')!r}, and "
            f"this version of ste-ray reads {VERSION}; save it anew with this one"
        )
    try:
        baseline = Baseline.model_validate(value)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise StageInputError(
            f"the baseline {source!r}: {field!r}: {problem['msg']}; save it anew"
        ) from None
    if reason := _problem(baseline):
        raise StageInputError(f"the baseline {source!r}: {reason}; save it anew")
    return baseline


def _problem(baseline: Baseline) -> str:
    settings = len(baseline.settings)
    if len(set(baseline.settings)) < settings or len(baseline.by_judge) != settings:
        return "its settings are not told once each"
    for tool, requests in baseline.requests.items():
        for request, outcomes in requests.items():
            if len(outcomes) != settings:
                return (
                    f"request {request!r} of {tool!r} has {len(outcomes)} outcomes, not {settings}"
                )
            for outcome in outcomes:
                if outcome is not None and outcome not in _OUTCOMES:
                    return f"request {request!r} of {tool!r} has the unknown outcome {outcome!r}"
    return ""


class Request(NamedTuple):
    """What was asked of a model and what is right; the arguments are JSON texts."""

    example_id: str
    tool: str
    query: str
    arguments_json: str
    accepted_json: str
    dialog: str = ""  # digest of the messages it was asked with, where the test set brought them
    failed: str = ""  # the calls that failed before it, as JSON, in a test of recovery


def request_ids(requests: Iterable[Request]) -> dict[str, str]:
    """Return the identity of each request, by the id of its example.

    What is asked several times is told apart by a number, in the order of the examples' ids.
    """
    seen: dict[str, int] = {}
    found = {}
    for one in sorted(requests):
        # Not where nothing failed before: such requests were known by the rest at first.
        content = text_fingerprint(*(one[1:] if one.failed else one[1:-1]))
        number = seen[content] = seen.get(content, -1) + 1
        found[one.example_id] = f"{content}-{number}" if number else content
    return found
