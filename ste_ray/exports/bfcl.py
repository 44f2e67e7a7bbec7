"""The run's test requests as tests of the Berkeley Function-Calling Leaderboard (BFCL).

Requests that need a call are of its category ``multiple`` (several functions, one call), requests
that need none of ``irrelevance``. Tests stand one a line in a file for each category, their right
calls in the same order in a file of the same name in a folder of answers.
Source of the form: the data in the package bfcl-eval.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ste_ray.core.records import Example
from ste_ray.errors import StageInputError
from ste_ray.exports.bfcl_functions import NoPlaceError, bfcl_answer, bfcl_function
from ste_ray.exports.chat import Offers, name_map
from ste_ray.exports.folder import LineFiles, Written, write_json
from ste_ray.exports.source import ExportSource

VERSION = "BFCL_v4"
CALLS, NO_CALLS = "multiple", "irrelevance"
ANSWERS = "possible_answer"
TRIED = "bfcl-eval 2026.3.23"


def write_bfcl(folder: Path, source: ExportSource, offers: Offers) -> Written:
    """Write the tests and their answers; return how many, by category.

    Raises:
        StageInputError: the run holds no tests.
    """
    tests = (one for one in source.examples() if one.split == "test")
    (folder / ANSWERS).mkdir()
    with LineFiles(folder, ".json") as files, LineFiles(folder / ANSWERS, ".json") as answers:
        for example, tools in offers.beside(tests):
            try:
                answer = _answer(example, source)
            except NoPlaceError as reason:
                files.left_out[str(reason)] += 1
                continue
            category = CALLS if example.needs_call else NO_CALLS
            number = files.counts.get(_file(category), 0)
            head = {"id": f"{category}_{number}"}
            files.write(_file(category), head | _test(example, tools))
            if example.needs_call:
                right = [{offers.name_of(example): answer}]
                answers.write(_file(category), {**head, "ground_truth": right})
    if not files.counts:
        raise StageInputError(
            f"{source.run!r} holds no test that BFCL has a form for; prepare it with "
            "prepare.test_fraction above 0"
        )
    if not answers.counts:
        (folder / ANSWERS).rmdir()
    write_json(folder / "tool_names.json", name_map(offers, source))
    (folder / "README.md").write_text(_readme(source), encoding="utf-8")
    return Written(
        {name.removeprefix(f"{VERSION}_"): number for name, number in files.counts.items()},
        dict(files.left_out),
    )


def _file(category: str) -> str:
    return f"{VERSION}_{category}"


def _answer(example: Example, source: ExportSource) -> dict[str, list[Any]]:
    """Return the right values; none are needed where no call is right."""
    if not example.needs_call:
        return {}
    if example.failed_calls:
        raise NoPlaceError("tests after a call that failed")
    accepted = json.loads(example.accepted_json) if example.accepted_json else {}
    schema = source.spec(example.tool).parameters
    return bfcl_answer(json.loads(example.arguments_json), accepted, schema)


def _test(example: Example, tools: list[dict[str, Any]]) -> dict[str, Any]:
    functions = [tool["function"] for tool in tools]
    return {
        "question": [[{"role": "user", "content": example.query}]],
        "function": [
            bfcl_function(one["name"], one["description"], one["parameters"]) for one in functions
        ],
    }


def _readme(source: ExportSource) -> str:
    return (
        f"Test requests for tools, prepared by ste-ray{source.public_origin}, in the form of the\n"
        "Berkeley Function-Calling Leaderboard (BFCL).\n\n"
        "`bfcl` reads its tests from the folder `data` of the package `bfcl_eval`: put these\n"
        "files in the place of those of the same names there, and run `bfcl generate` and\n"
        f"`bfcl evaluate` with `--test-category {CALLS},{NO_CALLS}`. What comes out is of these\n"
        "tests, not of the leaderboard.\n\n"
        "Its checker is milder than ste-ray's scores with texts (case, spaces and some\n"
        "punctuation do not count) and stricter with dates, times and quantities, which it\n"
        "compares as they are written. Tools go by names of letters, digits, `_` and `-`;\n"
        "`tool_names.json` holds the names that they stand for.\n\n"
        f"Tried with {TRIED}.\n"
    )
