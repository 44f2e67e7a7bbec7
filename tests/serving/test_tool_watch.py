"""Tools that are not as they were in training are told: in headers each time, in the log once."""

from __future__ import annotations

from ste_ray.serving.drift import DRIFT_HEADER, UNKNOWN_HEADER, ToolWatch
from tests.served_model import tool


def watch(known=frozenset({"get_weather"})):
    lines = []
    return ToolWatch({"get_weather": tool()["function"]}, known, lines.append), lines


def changed(name="x", kind="integer"):
    return tool(city={"type": "string", "description": "A city."}, **{name: {"type": kind}})


def test_what_is_as_in_training_is_not_told():
    watching, lines = watch()
    assert (watching.headers([tool()]), watching.headers([]), lines) == ({}, {}, [])


def test_each_change_is_logged_once_and_told_each_time():
    watching, lines = watch()
    for _ in range(3):
        found = watching.headers([changed(), tool("new")])
        assert found == {
            DRIFT_HEADER: "get_weather: parameters.properties.x",
            UNKNOWN_HEADER: "new",
        }
    assert lines == [
        "serve: tool 'get_weather' is not as it was in training: parameters.properties.x",
        "serve: tool 'new' was not in training",
    ]


def test_a_folder_that_does_not_say_what_it_learned_knows_no_unknown_tools():
    watching, lines = watch(known=None)
    assert (watching.headers([tool("new")]), lines) == ({}, [])


def test_ever_new_tools_are_logged_and_the_oldest_forgotten():
    """A server that has seen many is not full: what is new to it is still logged."""
    watching, lines = watch()
    for number in range(3000):
        watching.headers([tool(f"t{number}")])
    assert len(lines) == 3000
    watching.headers([tool("t2999")])
    assert len(lines) == 3000
    watching.headers([tool("t0")])
    assert len(lines) == 3001


def test_headers_hold_what_headers_may_and_are_cut():
    watching, lines = watch()
    headers = watching.headers([changed("é\r\nx: y"), tool("n" * 128)])
    assert headers[DRIFT_HEADER] == r"get_weather: parameters.properties.\xe9\r\nx: y"
    assert "\r" not in lines[0]
    many = watching.headers([tool("n" * 100 + str(number)) for number in range(100)])
    assert len(many[UNKNOWN_HEADER]) < 2100
    assert many[UNKNOWN_HEADER].endswith("...")
