"""Baselines: the same bytes for the same outcomes, read back as they were, damage named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.scoring.baseline import (
    Answered,
    Request,
    baseline_text,
    make_baseline,
    parse_baseline,
    request_ids,
)
from ste_ray.errors import StageInputError

outcomes = st.sampled_from(["correct", "wrong_arguments", "malformed", "needless_call"])
answers = st.dictionaries(
    st.text(max_size=6), st.builds(Answered, st.text(max_size=6), outcomes), max_size=8
)


@given(answers, st.sampled_from(["tuned/toolken", "base/icl"]), st.integers(0, 9))
def test_what_is_written_is_read_back(found: dict[str, Answered], name: str, judged: int) -> None:
    second = {key: one for key, one in found.items() if one.outcome == "correct"}
    baseline = make_baseline({name: found, "other": second}, {name: judged}, "1.2")
    text = baseline_text(baseline)
    read = parse_baseline(text.encode(errors="surrogatepass"), "b.json")
    assert read == baseline
    assert read.outcomes(name) == found
    assert read.outcomes("other") == second
    assert read.by_judge == (judged, 0)
    turned = make_baseline(
        {name: dict(reversed(found.items())), "other": second}, {name: judged}, "1.2"
    )
    assert baseline_text(turned) == text


def test_a_line_is_a_request() -> None:
    found = {"b0": Answered("add", "correct"), "a0": Answered("add", "malformed")}
    text = baseline_text(make_baseline({"tuned/toolken": found}, {}, "0.1.0"))
    assert text.splitlines() == [
        "{",
        ' "format": "ste-ray/baseline",',
        ' "schema_version": 1,',
        ' "code_version": "0.1.0",',
        ' "settings": ["tuned/toolken"],',
        ' "by_judge": [0],',
        ' "requests": {',
        '  "add": {',
        '   "a0": ["malformed"],',
        '   "b0": ["correct"]',
        "  }",
        " }",
        "}",
    ]


def content(**changes: Any) -> bytes:
    found = {"a0": Answered("add", "correct")}
    value = json.loads(baseline_text(make_baseline({"s": found}, {}, "1")))
    return json.dumps(value | changes).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1]", "is no baseline"),
        (b'{"settings": {}}', "is no baseline"),
        (
            content(schema_version=2),
            "has the schema version 2, and this version of ste-ray reads 1",
        ),
        (content(settings=[]), "'settings'"),
        (content(settings=["s", "s"], by_judge=[0, 0]), "settings are not told once each"),
        (content(by_judge=[]), "settings are not told once each"),
        (content(requests={"add": {"a0": []}}), "request 'a0' of 'add' has 0 outcomes, not 1"),
        (content(requests={"add": {"a0": ["fine"]}}), "has the unknown outcome 'fine'"),
        (content(requests={"add": 7}), "'requests.add'"),
        (content(more=1), "'more'"),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(data: bytes, words: str) -> None:
    with pytest.raises(StageInputError) as refused:
        parse_baseline(data, "b.json")
    assert words in str(refused.value)
    assert "'b.json'" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_request_is_known_by_what_is_asked_and_right() -> None:
    one = Request("e1", "add", "2 + 2?", '{"a":2}', "")
    (identity,) = request_ids([one]).values()
    assert request_ids([one._replace(example_id="other")]) == {"other": identity}
    changes = {
        "tool": "sum",
        "query": "2+2",
        "arguments_json": "{}",
        "accepted_json": "{}",
        "dialog": "d",
        "failed": "[1]",
    }
    for field, value in changes.items():
        assert request_ids([one._replace(**{field: value})])["e1"] != identity


def test_a_test_of_recovery_leaves_the_identity_of_the_explicit_one_alone() -> None:
    explicit = Request("e5", "add", "2 + 2?", '{"a":2}', "")
    (identity,) = request_ids([explicit]).values()
    for key in ("e1", "e9"):  # before it, and behind it
        found = request_ids([explicit, explicit._replace(example_id=key, failed="[1]")])
        assert found["e5"] == identity
        assert found[key] not in (identity, f"{identity}-1")


def test_what_is_asked_twice_is_told_apart_whatever_its_order() -> None:
    first, second = (Request(key, "add", "2 + 2?", '{"a":2}', "") for key in ("e1", "e2"))
    found = request_ids([second, first])
    assert found == request_ids([first, second])
    assert found["e2"] == f"{found['e1']}-1"
