"""Halves of surrogate pairs are replaced, all else stays as it is."""

from __future__ import annotations

import json

import pytest

from ste_ray.core.texts.surrogates import without_halves


@pytest.mark.parametrize("text", ["", "plain", "Zürich 東京 🙂", json.loads(r'"\ud83d\ude42"')])
def test_whole_characters_stay(text: str) -> None:
    assert without_halves(text) == text


def test_halves_are_replaced() -> None:
    assert without_halves("a\ud83d b\ude42 é") == "a? b? é"
