"""Texts that end a reply, wherever they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ste_ray.serving.replies import Piece
from ste_ray.serving.stops import StopTexts

TEXT = st.text("ab<", max_size=12)


def run(stops, pieces):
    looking, found = StopTexts(stops), []
    for piece in pieces:
        found += looking.feed(piece)
        if looking.found:
            break
    return "".join(one.text for one in [*found, *looking.finish()]), looking.found


@given(st.lists(TEXT, max_size=8), st.lists(st.text("ab<", min_size=1, max_size=4), max_size=3))
def test_a_reply_ends_before_the_first_stop_however_it_is_cut(texts, stops):
    whole = "".join(texts)
    pieces = [Piece("content", text) for text in texts]
    places = [place for place in map(whole.find, stops) if place >= 0]
    given_text, found = run(stops, pieces)
    assert found == bool(places)
    # Several that overlap may be seen one after the other.
    assert whole.startswith(given_text)
    if places:
        assert len(given_text) >= min(places)
        assert not any(stop in given_text for stop in stops)
    else:
        assert given_text == whole


def test_what_may_begin_a_stop_waits_and_is_given_before_a_call():
    looking = StopTexts(["</end>"])
    assert looking.feed(Piece("content", "a</en")) == [Piece("content", "a")]
    call = Piece("call", "{}", "f")
    assert looking.feed(call) == [Piece("content", "</en"), call]
    assert looking.feed(Piece("content", "d>")) == [Piece("content", "d>")]
    assert looking.finish() == []
    assert not looking.found


def test_calls_and_reasoning_are_not_looked_at():
    looking = StopTexts(["x"])
    for piece in (Piece("reasoning", "x"), Piece("call", '{"a": "x"}', "x")):
        assert looking.feed(piece) == [piece]
    assert looking.feed(Piece("content", "x")) == []
    assert looking.found
