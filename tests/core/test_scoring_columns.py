"""Scoring columns decides what the scorer of single records decides, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ste_ray.core.records import MessageCall, Oddity, Prediction, Score
from ste_ray.core.replies.strict_json import JSONTextError, decode_value
from ste_ray.core.scoring import columns as scoring
from ste_ray.core.scoring.columns import NEEDED, ColumnScorer, undecided_pairs
from ste_ray.core.scoring.scores import score_prediction, undecided_pair
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "code": {"type": "string", "enum": ["a", "B"]},
        "number": {"type": "number", "default": 1},
        "length": {"type": "string", "x-unit": "km"},
        "day": {"type": "string", "format": "date"},
        "list": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
    },
    "required": ["text"],
}
# Names that break where names are looked for: an input in it, white space around and within.
NAMES = ("add", "add ", "two  words", "my input", "größer", "[x] y", "`q`")


def specs_of(names: Any, schema: dict[str, Any]) -> dict[str, ToolSpec]:
    executor = {"kind": "python", "target": "m:f"}
    return {
        name: ToolSpec(name=name, description="d", parameters=schema, executor=executor)
        for name in names
    }


SPECS = specs_of(NAMES, SCHEMA)


def as_columns(predictions: list[Prediction]) -> dict[str, list[Any]]:
    rows = [one.model_dump() for one in predictions]
    return {name: [row[name] for row in rows] for name in NEEDED}


def assert_same(predictions: list[Prediction], specs: dict[str, ToolSpec]) -> int:
    """Compare both ways, and return how many records were asked for."""
    asked: list[int] = []

    def records_of(rows: list[int]) -> list[Prediction]:
        asked.extend(rows)
        return [predictions[row] for row in rows]

    columns = as_columns(predictions)
    found = ColumnScorer(specs).score(columns, records_of)
    expected = [score_prediction(one, specs) for one in predictions]
    scores = [
        Score(**dict(zip(found, row, strict=True))) for row in zip(*found.values(), strict=True)
    ]
    assert scores == expected
    # Records compare 1 and True, or 0.0 and -0.0, as equal; their text does not.
    assert [one.model_dump_json() for one in scores] == [one.model_dump_json() for one in expected]
    pairs = [undecided_pair(one, score) for one, score in zip(predictions, expected, strict=True)]
    assert undecided_pairs(columns, found) == [pair for pair in pairs if pair is not None]
    return len(asked)


def predict(tool: str, gold: str, text: str, **fields: Any) -> Prediction:
    return Prediction(
        example_id=fields.pop("example_id", "e"), setting="s", tool=tool, query="q",
        arguments_json=gold, candidates=(), output_text=text, **fields,
    )  # fmt: skip


VALUES = st.one_of(
    st.sampled_from(
        ("Oslo", "oslo ", "5 km", "5000 m", "2024-03-05", "a", "A", "a\\b", 'a"b', "é")
    ),
    st.sampled_from((0, 1, True, False, None, 1.0, -0.0, 1e300, 10**30, 0.1, [1, 2], [2, 1], {})),
    st.text(max_size=4),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
KEYS = st.sampled_from((*SCHEMA["properties"], "other", "é", ""))
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
FORMS = st.sampled_from(
    (
        "Action: {name}\nAction Input: {call}",
        "Thought: I call it.\nAction: {name}\nAction Input: {call}",
        "Thought: I\ncall it.\nAction: {name}\nAction Input: {call}",
        "Thought: Action: x\nAction: {name}\nAction Input: {call}\n",
        "Action: <tool_{name}>\nAction Input: {call}",
        "Action:  {name} \nAction Input: {call}",
        "Action: {name}\nAction Input: {call} ",
        "Action: {name}\nAction Input: {call}\nAction: {name}\nAction Input: {call}",
        "**Action:** {name}\n**Action Input:** {call}",
        "Action: {name}\nAction Input: ```json\n{call}\n```",
        "Action: {name} Action Input: {call}",
        "Action: {name}\nAction Input: {call}\nObservation: 3\nFinal Answer: 3",
        "Final Answer: {call}",
        "{call}",
    )
)
WRITTEN = st.sampled_from((*NAMES, "adds", "two words", "", "x\u2028y"))


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    """A call like those of models: often the right one, often one that is off by a little."""
    gold = draw(OBJECTS)
    called = gold if draw(st.booleans()) else {**gold, **draw(OBJECTS)}
    style = draw(st.sampled_from(({}, {"indent": 1}, {"separators": (",", ":")})))
    call = json.dumps(called, ensure_ascii=draw(st.booleans()), **style)
    if draw(st.integers(0, 5)) == 0:  # a key twice, a text that is cut, other brackets
        call = draw(st.sampled_from(('{"text":1,"text":1}', call[:-1], f"[{call}]", f"{call}}}")))
    tool = draw(st.sampled_from((*NAMES, "")))
    name = draw(st.one_of(st.just(tool or "add"), WRITTEN))
    fields: dict[str, Any] = {}
    text = draw(FORMS).format(name=name, call=call)
    if draw(st.integers(0, 3)) == 0:
        calls = [MessageCall(id=str(n), name=name, arguments_text=call) for n in range(2)]
        fields = {"native": True, "calls": tuple(calls[: draw(st.sampled_from((0, 1, 1, 1, 2)))])}
        if draw(st.integers(0, 3)) == 0:
            kind = draw(st.sampled_from(("cut_call", "id_missing", "unreadable_call")))
            fields["oddities"] = (Oddity(kind=kind, reply_index=draw(st.integers(-1, 1))),)
    if draw(st.integers(0, 5)) == 0:
        fields["accepted_json"] = json.dumps({"text": [draw(VALUES)]})
    if draw(st.integers(0, 9)) == 0:
        fields["error"] = "the endpoint is gone"
    for name in ("prompt", "completion", "final_prompt", "final_completion"):
        fields[f"{name}_tokens"] = draw(st.integers(0, 3))
    return predict(tool, json.dumps(gold) if tool else "", text, **fields)


@given(st.lists(predictions(), max_size=6))
def test_columns_are_scored_as_records_are(many: list[Prediction]) -> None:
    assert_same([*many, *many], SPECS)  # what was decided once is decided again


JSON_LIKE = st.text(
    st.sampled_from(
        list('{}[]":,0123456789.eE+-truefalsn\\ \t\n\r\x00\x1f\x7f\u00e9\u2028\ud800N')
    ),
    max_size=24,
).map("{{{}}}".format)


@given(st.one_of(JSON_LIKE, OBJECTS.map(json.dumps)))
@example('{"a":-0}')
@example('{"a":-0.0}')
@example('{"a":1E400}')
@example('{"a":1,"a":1}')
@example('{"a":"b","a":1}')
@example('{"a":NaN}')
@example('{"a":' + "9" * 5000 + "}")
@example('{"a":0.1000000000000000055511151231257827}')
@example('{"a":123456789012345678901234567890e-10}')
@example('{"a":5e-324}')
@example('{"a":1} ')
@example('{"a":1}}')
def test_what_the_short_way_reads_is_what_the_strict_reader_reads(text: str) -> None:
    found = scoring._flat_object(text)
    if found is None:
        return  # left to the strict reader
    try:
        value, canonical, end = decode_value(text)
    except JSONTextError as error:
        pytest.fail(f"{text!r} is read, and must not be: {error}")
    assert (repr(found[0]), found[1], len(text)) == (repr(value), canonical, end)


def test_plain_calls_take_no_record() -> None:
    gold = '{"text":"Oslo","number":2}'
    call = MessageCall(id="1", name="add", arguments_text=gold)
    plain = [
        predict("add", gold, f"Action: add\nAction Input: {gold}"),
        predict("add", gold, f"Thought: x\nAction: gone\nAction Input: {gold}"),
        predict("add", gold, 'Action: add\nAction Input: {"text": "Bergen", "number": 2}'),
        predict("add", gold, "", native=True, calls=(call,)),
    ]
    assert assert_same(plain, SPECS) == 0
    assert assert_same([*plain, predict("add", gold, "Final Answer: 3")], SPECS) == 1


def test_the_first_prediction_that_cannot_be_scored_is_named() -> None:
    right = predict("add", "{}", "Action: add\nAction Input: {}")
    bad = [
        predict("gone", "{}", "Action: add\nAction Input: {}", example_id="first"),
        predict("add", "[1]", "Action: add\nAction Input: {}", example_id="second"),
    ]
    for rows, named in (([right, *bad], "'first'"), ([right, *bad[::-1]], "'second'")):
        with pytest.raises(StageInputError, match=named):
            assert_same(rows, SPECS)


def test_what_is_kept_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_KEPT", 8)
    scorer = ColumnScorer(SPECS)
    many = [
        predict("add", f'{{"text":"{n}"}}', f'Action: x{n}\nAction Input: {{"text":"{n}"}}')
        for n in range(100)
    ]
    scorer.score(as_columns(many), lambda rows: [many[row] for row in rows])
    assert len(scorer._decisions) <= 8
    assert len(scorer._names) <= 8
    assert assert_same(many, SPECS) == 0


def test_long_texts_are_not_kept() -> None:
    scorer = ColumnScorer(SPECS)
    texts = ["x" * 3_000, "y" * 3_000]
    many = [
        predict("add", '{"text":"a"}', f'Action: add\nAction Input: {{"text":"{one}"}}')
        for one in texts
    ] + [
        predict("add", '{"text":"a"}', f'Action: {one}\nAction Input: {{"text":"a"}}')
        for one in texts
    ]
    scorer.score(as_columns(many), lambda rows: [many[row] for row in rows])
    kept = [*scorer._names, *(part for key in scorer._decisions for part in key)]
    assert sum(map(len, kept)) < 3_000
    assert assert_same(many, SPECS) == 0


def test_recorded_outputs_of_the_study_are_scored_as_records_are() -> None:
    if not REFERENCE.is_dir():
        pytest.skip("the study's reference data are not here (../shared/reference)")
    total = 0
    for path in sorted((REFERENCE / "saved_results").glob("*.json")):
        items = json.loads(path.read_text())
        specs = specs_of(items, {"type": "object"})
        rows = [
            predict(tool, one["action_input"], one["model_output"], example_id=str(number))
            for tool, many in items.items()
            for number, one in enumerate(many)
            if isinstance(json.loads(one["action_input"]), dict)
        ]
        total += len(rows)
        assert_same(rows, specs)
    assert total > 5_000
