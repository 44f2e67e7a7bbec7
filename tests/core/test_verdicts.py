import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.replies.verdicts import QUESTIONS, parse_judgment

UNPARSABLE = ("unparsable",) * 3


def verdicts(text):
    return tuple(parse_judgment(text)[question].verdict for question in QUESTIONS)


def reasons(text):
    return tuple(parse_judgment(text)[question].reason for question in QUESTIONS)


def test_a_judgment_in_the_format_of_its_prompt():
    text = "Informative: Yes - it says so\nFaithful: No - 3 is made up\nAppropriate: Yes"
    assert verdicts(text) == ("yes", "no", "yes")
    assert reasons(text) == ("it says so", "3 is made up", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "1. **Informative**: Yes\n2. **Faithful:** yes.\n3) appropriate: NO",
            ("yes", "yes", "no"),
        ),
        ("- Appropriate - Yes\n- Faithful – Yes\n- Informative: Yes", ("yes", "yes", "yes")),
        ("Informative: Yes\nFaithful: Yes", ("yes", "yes", "unparsable")),
        ("Informative: Yes\nInformative: Yes\nFaithful: No", ("yes", "no", "unparsable")),
        ("Informative: Yes\nInformative: No\nFaithful: No", ("unparsable", "no", "unparsable")),
        (
            "Informative: No\nInformative: Yes\nInformative: No\nFaithful: No",
            ("unparsable", "no", "unparsable"),
        ),
        (
            "Informative: Yes or No - reason\nFaithful: maybe\nAppropriate: Yes",
            ("unparsable", "unparsable", "yes"),
        ),
        ("I find it informative: Yes", UNPARSABLE),
        ("Informative: not sure, yes and no", UNPARSABLE),
        ("Informative:\nYes, it is", ("yes", "unparsable", "unparsable")),
        ("Informative:\n\n**No**", ("no", "unparsable", "unparsable")),
        ("Informative:\nFaithful: Yes", ("unparsable", "yes", "unparsable")),
        ("Informative? Yes\nFaithful? No", ("yes", "no", "unparsable")),
        ("(Informative) - Yes", ("yes", "unparsable", "unparsable")),
        ("| Informative | Yes | told |\n| Faithful | No | made up |", ("yes", "no", "unparsable")),
        ("Sure!\n\nInformative: Yes\nFaithful: Yes\nAppropriate: Yes\n\nBye", ("yes",) * 3),
        ("", UNPARSABLE),
    ],
)
def test_lines(text, expected):
    assert verdicts(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"informative": "Yes", "faithful": "no", "appropriate": "YES"}, ("yes", "no", "yes")),
        ({"Informative": True, "Faithful": False}, ("yes", "no", "unparsable")),
        (
            {"informative": {"verdict": "Yes", "reason": "r"}, "faithful": {"answer": "No, as 3"}},
            ("yes", "no", "unparsable"),
        ),
        ({"informative": 1, "faithful": None, "appropriate": ["yes"]}, UNPARSABLE),
        ({"informative": {"verdict": {"a": "yes"}}}, UNPARSABLE),
        ({"other": "yes"}, UNPARSABLE),
    ],
)
@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", "\n {} \nThat is all."])
def test_json_objects(value, expected, form):
    assert verdicts(form.format(json.dumps(value))) == expected


def test_reasons_of_json_objects():
    value = {
        "informative": {"verdict": "yes", "reason": "told"},
        "faithful": "No",
        "faithful_reason": "made up",
        "appropriate": "Yes - fits",
    }
    assert reasons(json.dumps(value)) == ("told", "made up", "fits")


def test_what_cannot_be_read_is_said():
    text = "Informative: perhaps\nFaithful:\nFaithful: Yes\nAppropriate:"
    assert reasons(text) == (
        "neither yes nor no: 'perhaps'",
        "it comes twice, with different verdicts",
        "it is empty",
    )
    assert reasons("Faithful: Yes")[0] == "it is not there"


@given(st.text(alphabet=st.sampled_from([*'Informative Faithful: Yes no{}[]"\n-*|?,.', "x"])))
def test_reading_never_raises_and_yes_is_always_written(text):
    found = verdicts(text)
    assert set(found) <= {"yes", "no", "unparsable"}
    if "yes" not in text.lower():
        assert "yes" not in found


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit", ["yes ", "no/", "*", "\n", "{", "[", "|", "?", "-", "Informative\n"]
)
def test_long_texts_take_linear_time(unit):
    text = unit * (200_000 // len(unit))
    for begin in ("Informative", "Informative:", '{"informative":'):
        assert "yes" not in verdicts(begin + text)[1:]
