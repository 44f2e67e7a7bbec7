"""Values that are neither JSON nor text are read as they were written, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.native_calls.loose_values import loose_text, read_literal, read_loose, read_python
from ste_ray.core.replies.strict_json import JSONTextError

QUOTE = "<escape>"
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
)


def values(texts):
    return st.recursive(
        LEAVES | texts,
        lambda inner: st.lists(inner, max_size=3) | objects(inner),
        max_leaves=8,
    )


def objects(inner):
    return st.dictionaries(st.sampled_from(["a", "b_c", "d-e", "f.g"]), inner, max_size=3)


@given(value=objects(values(st.text().filter(lambda text: QUOTE not in text))), before=st.text())
def test_loose_objects_come_back(value, before):
    text = f"{before}{loose_text(value, QUOTE)}<end>"
    got, end = read_loose(text, len(before), QUOTE)
    assert got == value
    assert text[end:] == "<end>"


@given(value=values(st.text()))
def test_what_python_prints_comes_back(value):
    assert read_python(repr(value)) == value
    got, end = read_literal(f"{value!r}, more", 0)
    assert (got, end) == (value, len(repr(value)))


@given(value=values(st.text()))
def test_json_comes_back_too(value):
    assert read_python(json.dumps(value)) == value
    assert read_python(json.dumps(value, ensure_ascii=False, indent=1)) == value


@given(text=st.text() | st.text("{}[]<escape>:,'\"\\ abc019.-eTrueNone"))
def test_any_text_is_a_value_or_refused(text):
    for read in (read_python, lambda one: read_loose(one, 0, QUOTE)[0]):
        with contextlib.suppress(JSONTextError):
            json.dumps(read(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{a:<escape>b}", "not closed"),
        ("{a:1,a:2}", "more than once"),
        ("{a 1}", "':' is missing"),
        ("{a:1 b:2}", "',' is missing"),
        ("{:1}", "no key stands"),
        ("{a:}", "no value begins"),
        ("{a:nothing}", "no value begins"),
        ("{a:1e999}", "too large"),
        ("[" * 500, "levels deep"),
    ],
)
def test_what_is_no_value_is_told(text, problem):
    with pytest.raises(JSONTextError, match=problem):
        read_loose(text, 0, QUOTE)


@pytest.mark.parametrize("part", ["{a:", "[", "'", "\\", "<escape>", "1", "a", ","])
def test_long_texts_take_linear_time(part):
    start = time.process_time()
    for read in (read_python, lambda one: read_loose(one, 0, QUOTE)):
        with pytest.raises(JSONTextError):
            read(f"[{part * 100_000}")
    assert time.process_time() - start < 2
