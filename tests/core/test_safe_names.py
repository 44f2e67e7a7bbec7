"""Names for function calling: always allowed, told apart, and found back."""

import hashlib
import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.texts.safe_names import SafeNames, safe_name
from ste_ray.errors import ToolSpecError

ALLOWED = re.compile(r"[a-zA-Z0-9_-]{1,64}")
API_LIST = Path(__file__).parents[3] / "shared" / "reference" / "API_list.json"
NAMES = st.text(min_size=1) | st.text(st.characters(categories=["Cs", "Lu", "Zs"]), min_size=1)
PLAIN_NAMES = st.from_regex(ALLOWED, fullmatch=True)


@pytest.mark.parametrize("name", ["search", "a", "-", "9-lives", "get_weather_today", "x" * 64])
def test_allowed_names_are_kept(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Token API%%generate", "Token_API_generate__"),
        ("Moneda MXN Español ", "Moneda_MXN_Espanol__"),
        ("天気", "tool__"),
        ("%%", "tool__"),
        ("get\nall\0", "get_all__"),
        ("x" * 65, "x" * 54 + "__"),
        ("made__0123abcd", "made__0123abcd__"),
        ("\ud800", "tool__"),
    ],
)
def test_other_names_are_cleaned_and_numbered(name, start):
    safe = safe_name(name)
    assert safe[:-8] == start
    assert re.fullmatch("[0-9a-f]{8}", safe[-8:])


def test_a_safe_name_never_changes():
    # Fine-tuned models and recorded conversations hold such names.
    assert safe_name("Global Email V4%%Global Email V4") == (
        "Global_Email_V4_Global_Email_V4__"
        + hashlib.sha256(b"Global Email V4%%Global Email V4").hexdigest()[:8]
    )


@pytest.mark.parametrize("name", ["a\n", "a ", "a b", "é", "a.b", "x__12345678\n"])
def test_almost_allowed_names_are_not_kept(name):
    assert safe_name(name) != name
    assert ALLOWED.fullmatch(safe_name(name))


@given(NAMES | PLAIN_NAMES)
def test_every_name_becomes_an_allowed_one(name):
    assert ALLOWED.fullmatch(safe_name(name))
    assert safe_name(name) == safe_name(name)


@given(st.lists(NAMES | PLAIN_NAMES, max_size=30))
def test_names_are_found_back_whatever_else_there_is(names):
    # Also where one tool has the name that was made for another.
    every = [*names, *(safe_name(name) for name in names)]
    safe_names = SafeNames(every)
    safe = [safe_names.safe(name) for name in every]
    originals = dict(zip(safe, every, strict=True))
    assert [originals[item] for item in safe] == every
    assert safe == [safe_name(name) for name in every]
    assert len(set(safe)) == len(set(every))


def test_unknown_names_are_key_errors():
    names = SafeNames(["a b"])
    with pytest.raises(KeyError):
        names.safe("a")


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="needs a name"):
        safe_name("")


def test_names_that_cannot_be_told_apart_are_refused():
    seen = {}
    for chars in itertools.product(" %&!?.,:;/|", repeat=6):
        name = "x" + "".join(chars)
        other = seen.setdefault(safe_name(name), name)
        if other != name:
            break
    with pytest.raises(ToolSpecError) as caught:
        SafeNames(["fine", other, name])
    message = str(caught.value)
    assert repr(other) in message
    assert repr(name) in message
    assert "rename" in message


@pytest.mark.skipif(not API_LIST.exists(), reason=f"the study's data is not in {API_LIST.parent}")
def test_the_names_of_the_study():
    names = json.loads(API_LIST.read_text("utf-8"))
    assert len(names) == 50
    safe_names = SafeNames(names)
    kept = [name for name in names if safe_names.safe(name) == name]
    assert kept == [name for name in names if ALLOWED.fullmatch(name)]
    assert len(kept) == 10
    assert len({safe_names.safe(name) for name in names}) == len(names)
