"""What replies of services become as the answers of tools."""

import json

import pytest

from ste_ray.tools.http.client import HttpReply
from ste_ray.tools.http.results import reply_result

FEED = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><entry id="1"><title>One &amp; é</title></entry>
<entry id="2"><title>Two</title></entry></feed>"""
# Ten to the power of ten letters, if it were expanded.
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]><x>&a9;</x>"
)


def reply(text, content_type="application/json", status=200, cut=False):
    return HttpReply(status, content_type, {}, text, cut, len(text.encode(errors="replace")))


def result(text, path="", max_chars=1000, **fields):
    return reply_result(reply(text, **fields), max_chars, 0.25, path)


@pytest.mark.parametrize(
    ("text", "content_type", "expected"),
    [
        ('{\n  "a" : [1, 2.50,\n null, "é"]}', "application/json", '{"a": [1, 2.5, null, "é"]}'),
        ('{"a":1}', "text/plain", '{"a": 1}'),
        ('{"a":1}', "application/vnd.x+json", '{"a": 1}'),
        ('"\\u732b"', "application/json", '"猫"'),
        ('{"a": tru', "application/json", '{"a": tru'),
        ("", "application/json", ""),
        ("plain\ntext", "text/plain", "plain\ntext"),
        ("<p>Hi</p>", "text/html", "<p>Hi</p>"),
        ("<a><b/></a>", "application/xml", "<a><b/></a>"),
        ("a,b\n1,2", "text/csv", "a,b\n1,2"),
        ("a: 1", "application/yaml", "a: 1"),
        ('{"a":1}', "application/x-json", '{"a": 1}'),
        ('{"a":1}\n{"a":2}', "application/x-ndjson", '{"a":1}\n{"a":2}'),
        ("<a/>", "image/svg+xml", "<a/>"),
        ("words", "application/octet-stream", "words"),
        ("words", "", "words"),
        ("", "image/png", ""),
    ],
)
def test_text_is_shown(text, content_type, expected):
    found = result(text, content_type=content_type)
    assert (found.status, found.text) == ("ok", expected)
    assert (found.seconds, found.source) == (0.25, "called")


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (404, '{"error":\n"no such city"}', 'HTTP 404 Not Found: {"error": "no such city"}'),
        (500, "", "HTTP 500 Internal Server Error"),
        (400, "  what?\n", "HTTP 400 Bad Request: what?"),
        (799, "odd", "HTTP 799: odd"),
        (429, "slow down:", "HTTP 429 Too Many Requests: slow down:"),
    ],
)
def test_refusals_say_what_the_service_said(status, text, expected):
    found = result(text, status=status)
    assert (found.status, found.text) == ("error", expected)
    # What the path would take stands in answers only.
    assert result(text, "a.b", status=status).text == expected


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 304, 399])
def test_other_statuses_are_fine(status):
    assert result("{}", status=status).status == "ok"


@pytest.mark.parametrize("content_type", ["image/png", "application/pdf", "application/zip"])
def test_what_is_no_text_is_named_and_not_shown(content_type):
    found = result("\ufffdPNG\r\n\x1a", content_type=content_type)
    assert found.status == "error"
    assert content_type in found.text
    assert "no text" in found.text
    assert "PNG\r" not in found.text
    refused = result("\ufffdPNG\r\n\x1a", content_type=content_type, status=403)
    assert refused.text.startswith("HTTP 403 Forbidden")


def test_bytes_without_a_type():
    assert result("a\x00b", content_type="application/octet-stream").status == "error"


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ('{"a": {"b": [1, {"c": "x"}]}}', "a.b[1].c", "x"),
        ('{"a": {"b": [1, {"c": "x"}]}}', "a", '{"b": [1, {"c": "x"}]}'),
        ('{"a": 1}', "b.c", "null"),
        ('[{"n": "é", "m": 1}]', "[].{name: n}", '[{"name": "é"}]'),
        ("[3, 1, 2]", "sort(@)", "[1, 2, 3]"),
        ("5", "@", "5"),
    ],
)
def test_a_part_of_json(text, path, expected):
    found = result(text, path)
    assert (found.status, found.text) == ("ok", expected)


@pytest.mark.parametrize("content_type", ["application/atom+xml", "text/xml", "text/plain"])
def test_a_part_of_xml(content_type):
    found = result(FEED, 'feed.entry[].{id: "@id", title: title}', content_type=content_type)
    assert json.loads(found.text) == [{"id": "1", "title": "One & é"}, {"id": "2", "title": "Two"}]
    assert result(FEED, content_type=content_type).text == FEED


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><x>&f;</x>',
        "<x><y></x>",
        "<" * 1000,
        "not what was promised",
        '{"a": ',
        "[" * 100_000,
        "",
    ],
)
def test_hostile_and_broken_replies_are_errors(text):
    found = result(text, "x", max_chars=200)
    assert found.status == "error"
    assert "expected" in found.text
    assert len(found.text) < 300


def test_a_document_type_elsewhere_is_not_fetched():
    text = '<!DOCTYPE x SYSTEM "http://169.254.169.254/x.dtd"><x><a>&f;</a><b>1</b></x>'
    assert result(text, "x").text == '{"a": null, "b": "1"}'


def test_entities_that_are_not_looked_at_stay_text():
    assert result(BOMB, content_type="text/xml", max_chars=10_000).text == BOMB


@pytest.mark.parametrize(
    ("text", "path"),
    [('{"a": [1, "x"]}', "sort(a)"), ('{"a": 1}', "length(a)"), ('{"a": 1}', "nonsense(a)")],
)
def test_replies_that_the_path_does_not_fit(text, path):
    found = result(text, path)
    assert found.status == "error"
    assert "not of the expected form" in found.text
    assert text in found.text


def test_deep_replies():
    deep = "[" * 900 + "]" * 900
    assert result(deep, max_chars=10_000).status == "ok"
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    assert result(deep).status == "ok"
    assert result(deep, "a").status == "error"
    assert result("<a>" * 50_000 + "</a>" * 50_000, "a").status in ("ok", "error")


def test_numbers_that_are_too_long_stay_as_they_are():
    digits = "9" * 5000
    assert result(digits, max_chars=10_000).text == digits


def test_half_a_surrogate_pair_can_be_stored():
    for text, path in [('{"a": "x\\ud800y"}', ""), ('{"a": "x\\ud800y"}', "a")]:
        result(text, path).text.encode()


def test_long_replies_are_cut_and_say_so():
    whole = json.dumps(["x" * 100] * 100)
    found = result(whole, max_chars=50)
    assert found.text == f"{whole[:50]}… [cut: 50 of {len(whole)} characters]"
    assert found.status == "ok"
    exact = result("x" * 50, max_chars=50, content_type="text/plain")
    assert exact.text == "x" * 50


@pytest.mark.parametrize("num_chars", [10, 49, 50, 51, 200])
def test_replies_that_the_client_cut_always_say_so(num_chars):
    found = result("x" * num_chars, max_chars=50, content_type="text/plain", cut=True)
    assert found.text.startswith("x" * min(num_chars, 50))
    assert "[cut" in found.text
    assert len(found.text) < 120


def test_a_character_that_the_client_cut_in_two_is_left_out():
    text = "x猫".encode()[:-1].decode(errors="replace")
    found = result(text, max_chars=50, content_type="text/plain", cut=True)
    assert found.text == "x… [cut: 1 characters of a longer reply]"


def test_a_part_cannot_be_taken_of_what_was_cut():
    found = result('{"a": 1', "a", cut=True)
    assert found.status == "error"
    assert "too many" in found.text
