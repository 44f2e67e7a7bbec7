"""Secrets in texts: masked in every usual form, in forms of forms, whole or cut."""

import base64
import codecs
import html
import json
import random
import string
import textwrap
import time
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.core.texts.masking import Masker

KEY = "sk-canary-Zq8vR3xT6wL1pN4mB7"
ODD = 'p@ss/w"ör d+1\\x%41&<é>'
MARK = "[secret KEY]"


def _swapped(value):
    return "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(value))


def _base64_lines(value):
    return base64.encodebytes((b"some text before, " * 5) + value.encode()).decode()


FORMS = {
    "raw": str,
    "upper": str.upper,
    "lower": str.lower,
    "swapped": _swapped,
    "percent": lambda v: urllib.parse.quote(v, safe=""),
    "plus": urllib.parse.quote_plus,
    "full percent": lambda v: "".join(f"%{byte:02X}" for byte in v.encode()),
    "full percent, lower": lambda v: "".join(f"%{byte:02x}" for byte in v.encode()),
    "percent twice": lambda v: urllib.parse.quote(
        "".join(f"%{byte:02X}" for byte in v.encode()), safe=""
    ),
    "percent of UTF-16": lambda v: "".join(f"%u{ord(c):04x}" for c in v),
    "JSON": lambda v: json.dumps(v)[1:-1],
    "JSON in JSON": lambda v: json.dumps(json.dumps(v)),
    "full escapes": lambda v: "".join(f"\\u{ord(c):04x}" for c in v),
    "full escapes, upper": lambda v: "".join(f"\\u{ord(c):04X}" for c in v),
    "escapes in JSON": lambda v: json.dumps("".join(f"\\u{ord(c):04x}" for c in v)),
    "braced escapes": lambda v: "".join(f"\\u{{{ord(c):x}}}" for c in v),
    "HTML": html.escape,
    "decimal entities": lambda v: "".join(f"&#{ord(c)};" for c in v),
    "hexadecimal entities": lambda v: "".join(f"&#x{ord(c):X};" for c in v),
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda v: repr(v.encode()),
    "repr of repr": lambda v: repr(repr(v)),
    "byte escapes": lambda v: "".join(f"\\x{byte:02x}" for byte in v.encode()),
    "octal escapes": lambda v: "".join(f"\\{byte:03o}" for byte in v.encode()),
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "base64 after one": lambda v: base64.b64encode(f"u{v}".encode()).decode(),
    "base64 after two": lambda v: base64.b64encode(f"me{v} ".encode()).decode(),
    "urlsafe base64": lambda v: base64.urlsafe_b64encode(f"u:{v}".encode()).decode(),
    "base64 in lines": _base64_lines,
    "base64 in short lines": lambda v: "\n".join(
        textwrap.wrap(base64.b64encode(f"key={v}".encode()).decode(), 16)
    ),
    "base64 in lines of JSON": lambda v: json.dumps(_base64_lines(v)),
    "base64 of UTF-16": lambda v: base64.b64encode(v.encode("utf-16-le")).decode(),
    "base64 of base64": lambda v: base64.b64encode(base64.b64encode(f"u:{v}".encode())).decode(),
    "hexadecimal": lambda v: v.encode().hex(),
    "hexadecimal, upper": lambda v: v.encode().hex().upper(),
    "hexadecimal with colons": lambda v: v.encode().hex(":"),
    "hexadecimal with spaces": lambda v: v.encode().hex(" "),
    "hexadecimal numbers": lambda v: ", ".join(f"0x{byte:02x}" for byte in v.encode()),
    "hexadecimal with underscores": lambda v: v.encode().hex("_"),
    "quoted-printable": lambda v: "".join(f"={byte:02X}" for byte in v.encode()),
    "numbers": lambda v: str(list(v.encode())),
    "characters": lambda v: str(list(v)),
    "spaced out": " ".join,
    "wrapped": lambda v: "\n".join(textwrap.wrap(v, 7, break_on_hyphens=False)),
}
NESTABLE = [
    n
    for n in FORMS
    if n not in ("numbers", "characters", "spaced out", "wrapped", "swapped", "upper", "lower")
]


def _own_part(form, name_of, value):
    """Return what of a form stands for its value: another value's form differs in it."""
    other = name_of("".join(chr(ord(c) ^ 1) if c.isalnum() else c for c in value))
    start, end = _num_common(form, other), _num_common(form[::-1], other[::-1])
    return form[start : len(form) - end]


def _num_common(one, other):
    places = range(min(len(one), len(other)))
    return next((place for place in places if one[place] != other[place]), len(places))


def _shows(masked, form, name_of, value):
    """Whether a text shows half of what stands for a value."""
    part = _own_part(form, name_of, value)
    num = len(part) // 2
    return any(part[i : i + num] in masked for i in range(len(part) - num + 1))


@pytest.mark.parametrize("value", [KEY, ODD])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_masked(name, value):
    form = FORMS[name](value)
    masked = Masker({value: MARK}).mask(f"before: {form} (after) that")
    assert masked.startswith("before: ")
    assert masked.endswith("(after) that")
    assert MARK in masked
    assert not _shows(masked, form, FORMS[name], value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unseen", ["\u200b", "\u2060", "\u00ad", "\ufeff", "\u202e\u200d"])
def test_characters_that_nobody_sees_hide_nothing(form, unseen):
    shown = FORMS[form](KEY)
    masked = Masker({KEY: MARK}).mask(f"it said — {unseen.join(shown)} again")
    assert MARK in masked
    assert masked.startswith("it said — ")
    assert not _shows(masked.replace(unseen, ""), shown, FORMS[form], KEY)


@pytest.mark.parametrize("value", [KEY, ODD])
def test_wide_characters_hide_nothing(value):
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)
    assert Masker({value: MARK}).mask(f"Ｋｅｙ： {wide}。") == f"Ｋｅｙ： {MARK}。"


@pytest.mark.parametrize("outer", NESTABLE)
@pytest.mark.parametrize("inner", FORMS)
def test_forms_of_forms_are_masked(inner, outer):
    if outer == "base64 of base64" and inner in ("base64 of base64", "base64 of UTF-16"):
        pytest.skip("more times than are looked for")
    form = FORMS[outer](FORMS[inner](KEY))
    masked = Masker({KEY: MARK}).mask(f"it said {form} again")
    assert MARK in masked
    assert not _shows(masked, form, lambda v: FORMS[outer](FORMS[inner](v)), KEY)


@settings(max_examples=200, deadline=None)
@given(
    value=st.text(string.ascii_letters + string.digits + "-_./=", min_size=9, max_size=60).filter(
        lambda value: sum(map(str.isalnum, value)) >= 8  # the rest may be taken for separators
    ),
    name=st.sampled_from(sorted(FORMS)),
    before=st.text(st.characters(codec="utf-8"), max_size=40),
    after=st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_any_value_in_any_form_between_any_texts(value, name, before, after):
    form = FORMS[name](value)
    # Letters beside base64 are digits of it; quotation marks are what programs write there.
    masked = Masker({value: MARK}).mask(f'{before}"{form}"{after}')
    assert MARK in masked
    assert form not in masked


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=300))
def test_a_text_without_a_secret_stays_as_it_is(text):
    assert Masker({KEY: MARK, ODD: "x", "k9#Zt2": "y"}).mask(text) == text
    assert Masker({}).mask(text) == text


def test_ordinary_texts_stay_as_they_are():
    masker = Masker({KEY: MARK, "hunter2-and-more-of-it": "***"})
    for text in (
        "see https://api.test/a%20b?c=%41%42&d=1 and \\u0041 &amp; &#65; \\n",
        json.dumps({"id": "550e8400-e29b-41d4-a716-446655440000", "n": list(range(300))}),
        base64.b64encode(bytes(range(256))).decode(),
        "sk-c and sk-can, but nothing more; hunter2!",
        "half \ud800 pair",
    ):
        assert masker.mask(text) == text


@pytest.mark.parametrize("num", range(1, len(KEY)))
def test_a_secret_that_was_cut_leaves_no_tail(num):
    masker = Masker({KEY: MARK})
    text = f"the key is {KEY[:num]}"
    assert masker.mask(text, cut=True) in ("the key is ", f"the key is {MARK}")
    # Whoever cut it may have said nothing of it: what could be chance is left.
    left = masker.mask(text).removeprefix("the key is ")
    assert len(left) < 8 or left == MARK
    for mark in ("…", "...", " [truncated]", '... (12 more)"', "… [cut]"):
        left = masker.mask(text + mark).removeprefix("the key is ")
        assert left.endswith(mark)
        assert len(left.removesuffix(mark)) < 8 or left.startswith(MARK)


@pytest.mark.parametrize(
    ("key", "text"), [("token-1234abcd", "it is an invalid token"), ("hunter2-2024", "the hunt")]
)
def test_a_word_at_the_end_of_a_text_is_no_beginning_of_a_key(key, text):
    masker = Masker({key: MARK})
    assert masker.mask(text) == text
    assert masker.mask(f"the key is {key[:9]}") == f"the key is {MARK}"
    assert MARK not in masker.mask(text, cut=True)


@pytest.mark.parametrize("num", range(len(KEY) // 2, len(KEY)))
def test_most_of_a_secret_is_masked_anywhere(num):
    masker = Masker({KEY: MARK})
    assert masker.mask(f"it is {KEY[:num]}~~ so") == f"it is {MARK}~~ so"
    assert masker.mask(f"given: ~~{KEY[-num:]} so") == f"given: ~~{MARK} so"


@pytest.mark.parametrize("name", ["full percent", "full escapes", "base64", "hexadecimal", "repr"])
def test_a_form_that_was_cut_leaves_no_tail(name):
    form, masker = FORMS[name](KEY), Masker({KEY: MARK})
    for num in range(len(form) // 2, len(form)):
        masked = masker.mask(f"key: {form[:num]}", cut=True)
        assert masked.startswith((f"key: {MARK}", f"key: '{MARK}"))
        # Of an escape sequence that was cut within, only that is left.
        assert len(masked.partition(MARK)[2]) < 6


def test_of_secrets_that_overlap_the_longer_is_named():
    masker = Masker({"abcd1234": "[A]", "abcd1234-extended": "[B]"})
    assert masker.mask("abcd1234-extended abcd1234") == "[B] [A]"
    assert Masker({"abcd1234": "[A]", "1234wxyz": "[B]"}).mask("abcd1234wxyz") in ("[A]", "[B]")


def test_values_too_short_to_be_told_from_words_are_left_out():
    assert not Masker({"abc": "x", "": "y"})
    assert Masker({"abc": "x"}).mask("abc abc") == "abc abc"


def test_a_secret_that_looks_escaped_is_found_in_both_states():
    masker = Masker({"ab%41cd%42ef": "***"})
    assert masker.mask("x ab%41cd%42ef y") == "x *** y"
    assert masker.mask("x abAcdBef y") == "x *** y"
    assert masker.mask("x ab%2541cd%2542ef y") == "x *** y"


def test_long_texts_take_little_time():
    rng = random.Random(1)
    letters = string.ascii_letters + string.digits
    keys = ["sk-" + "".join(rng.choices(letters, k=26)) for _ in range(10)]
    masker = Masker(dict.fromkeys(keys, "***"))
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(999)]
    texts = (
        " ".join(rng.choices(words, k=160_000)),
        json.dumps([{"id": n, "text": 'a \n"b" \\ é & %41'} for n in range(20_000)]),
        base64.b64encode(rng.randbytes(750_000)).decode(),
        "%25" * 300_000,
        "\\" * 1_000_000,
        keys[0][:8] * 120_000,
    )
    for text in texts:
        started = time.process_time()
        masker.mask(text)
        assert time.process_time() - started < 2.5, text[:40]
    assert codecs.decode("fx", "rot13") == "sk"  # forms of one's own making are not looked for


def test_many_secrets_in_one_text_take_little_time():
    text = " ".join(FORMS["base64"](KEY) for _ in range(2_000))
    started = time.process_time()
    masked = Masker({KEY: MARK}).mask(text)
    assert time.process_time() - started < 5
    assert masked.count(MARK) == 2_000
