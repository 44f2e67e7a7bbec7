"""Keywords of this project's own that are misspelt, or whose value says nothing, are told."""

from __future__ import annotations

from typing import Any

import pytest

from ste_ray.core.schemas.own_keywords import OWN_KEYWORDS, keyword_notes
from ste_ray.core.scoring.comparing import compare_arguments


def notes(of_argument: Any) -> list[str]:
    return list(keyword_notes({"type": "object", "properties": {"a": of_argument}}))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("x-separator", "x-separators"),
        ("x-Separators", "x-separators"),
        ("x-seperators", "x-separators"),
        ("x-unit_name", "x-unit-name"),
        ("x-unitname", "x-unit-name"),
        ("x-exactly", "x-exact"),
        ("x-unorderd", "x-unordered"),
    ],
)
def test_a_misspelt_keyword_is_told(written: str, meant: str) -> None:
    (note,) = notes({written: True})
    assert note.startswith(f"parameters.properties.a.{written} ")
    assert repr(meant) in note


def test_a_value_that_says_nothing_is_told() -> None:
    assert notes({"x-separators": ["-"]}) == [
        "parameters.properties.a.x-separators=['-'] says nothing: write a text of characters"
    ]
    assert len(notes({"x-unit-name": "yes"})) == len(notes({"x-exact": 1})) == 1
    assert len(notes({"x-unit": {}})) == len(notes({"x-separators": ""})) == 1


def test_it_is_found_wherever_a_schema_can_stand() -> None:
    wrong = {"x-exat": True}
    schema = {"$defs": {"d": wrong}, "anyOf": [{"properties": {"b": {"items": wrong}}}]}
    assert [note.partition(" ")[0] for note in keyword_notes(schema)] == [
        "parameters.$defs.d.x-exat",
        "parameters.anyOf[0].properties.b.items.x-exat",
    ]


def test_what_is_right_or_of_others_is_let_be() -> None:
    right = {"x-exact": True, "x-separators": " -", "x-unit": "km"}
    assert not notes(right | {"x-unit-name": False, "x-unordered": True})
    assert not notes({"x-ms-enum": {}, "x-internal": True, "x-example": 1, "x-order": 3})
    assert not list(keyword_notes({"properties": {"x-exat": {"type": "string"}}}))
    assert not notes({"const": {"x-exat": 1}, "default": {"x-exat": 1}})


def test_each_keyword_decides_how_values_are_compared() -> None:
    pairs: dict[str, tuple[Any, Any, Any]] = {
        "x-exact": (True, "a", "A"),
        "x-separators": ("-", "a-b", "ab"),
        "x-unit": ("km", 1, "1000 m"),
        "x-unit-name": (True, "metre", "m"),
        "x-unordered": (True, [1, 2], [2, 1]),
    }
    assert pairs.keys() == OWN_KEYWORDS.keys()
    for keyword, (value, one, other) in pairs.items():
        plain, said = (
            bool(compare_arguments({"a": one}, {"a": other}, {"properties": {"a": schema}}))
            for schema in ({}, {keyword: value})
        )
        assert plain is not said
