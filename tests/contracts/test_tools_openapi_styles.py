"""What is written by style is read back: by readers that know nothing of how it was written."""

import json
import re
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from ste_ray.core.executor_spec_parts import OpenApiField, OpenApiParameter
from ste_ray.tools.http.templates import encode_body
from ste_ray.tools.openapi.forms import form_body, multipart_body
from ste_ray.tools.openapi.styles import query_pairs, query_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text(
    ",| +%&=[]", max_size=8
)
WORDS = st.text("abc", min_size=1, max_size=3)


def parameter(style="", explode=None, **fields):
    return OpenApiParameter(
        argument="it", name="it", place="query", style=style, explode=explode, **fields
    )


def sent(one, value):
    """The query as it goes over the wire."""
    pairs = list(query_pairs(one, value))
    query = URL("http://a/").extend_query(pairs).raw_query_string if pairs else ""
    return "&".join(filter(None, [query, query_text(one, value)]))


def read_delimited(query, delimiters):
    """Split the raw query and decode each item, as RFC 6570 has it."""
    name, _, raw = query.partition("=")
    assert name == "it"
    delimiter = next((one for one in delimiters if one in raw), delimiters[-1])
    return [urllib.parse.unquote_plus(item) for item in raw.split(delimiter)]


def read_brackets(query):
    """Read ``name[key][0]=text`` into objects and lists."""
    tree = {}
    for key, text in urllib.parse.parse_qsl(query, keep_blank_values=True):
        steps = re.findall(r"[^\[\]]+", key)
        node = tree
        for step in steps[:-1]:
            node = node.setdefault(step, {})
        assert steps[-1] not in node
        node[steps[-1]] = text
    return _lists(tree)


def _lists(node):
    if not isinstance(node, dict):
        return node
    if list(node) == [str(place) for place in range(len(node))]:
        return [_lists(one) for one in node.values()]
    return {key: _lists(one) for key, one in node.items()}


@pytest.mark.parametrize(
    ("style", "delimiters"),
    [("form", [","]), ("", [","]), ("spaceDelimited", ["%20"]), ("pipeDelimited", ["|", "%7C"])],
)
@given(value=st.lists(TEXTS, min_size=1, max_size=4))
def test_a_list_in_one_text_is_read_back(style, delimiters, value):
    query = sent(parameter(style, explode=False), value)
    if len(value) == 1:
        delimiters = delimiters[:1]  # a reader of "%7C" must take it for a delimiter
    assert not set(query) & set("&# ")
    assert read_delimited(query, delimiters) == value


@given(value=st.lists(st.text("ab é&=#", max_size=5), min_size=1, max_size=4))
def test_readers_that_decode_first_see_what_they_saw(value):
    for style, delimiter in (("form", ","), ("pipeDelimited", "|")):
        query = sent(parameter(style, explode=False), value)
        ((_, text),) = urllib.parse.parse_qsl(query, keep_blank_values=True)
        assert text.split(delimiter) == value


@pytest.mark.parametrize("style", ["form", "spaceDelimited", "pipeDelimited"])
@given(value=st.lists(TEXTS, min_size=1))
def test_an_exploded_list_is_read_back(style, value):
    query = sent(parameter(style, explode=True), value)
    assert urllib.parse.parse_qs(query, keep_blank_values=True) == {"it": value}


@given(value=st.dictionaries(TEXTS.filter(bool), TEXTS, min_size=1, max_size=3))
def test_an_object_in_one_text_is_read_back(value):
    items = read_delimited(sent(parameter("form", explode=False), value), [","])
    assert dict(zip(items[::2], items[1::2], strict=True)) == value


deep = st.recursive(
    TEXTS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(WORDS, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


@given(value=st.lists(deep, min_size=1, max_size=3) | st.dictionaries(WORDS, deep, min_size=1))
def test_deep_objects_and_lists_are_read_back(value):
    assert read_brackets(sent(parameter("deepObject", explode=True), value)) == {"it": value}


@given(value=st.lists(TEXTS) | st.dictionaries(TEXTS, st.integers() | st.none()) | TEXTS)
def test_parameters_of_a_content_type_are_one_text(value):
    query = sent(parameter(as_json=True), value)
    ((_, text),) = urllib.parse.parse_qsl(query, keep_blank_values=True)
    assert json.loads(text) == value
    query = sent(parameter(as_text=True), value)
    ((_, text),) = urllib.parse.parse_qsl(query, keep_blank_values=True)
    assert (text if isinstance(value, str) else json.loads(text)) == value


ENCODING = {
    "deep": OpenApiField(style="deepObject", explode=True),
    "flat": OpenApiField(style="form", explode=False),
    "json": OpenApiField(content_type="application/json"),
}


@given(value=st.lists(TEXTS, min_size=1, max_size=3))
def test_fields_of_a_form_are_written_as_the_document_says(value):
    form = {name: value for name in (*ENCODING, "plain")} | {"object": {"a": value}, "null": None}
    body = form_body(form, ENCODING).decode()
    raw = dict(pair.split("=", 1) for pair in body.split("&"))
    read = urllib.parse.parse_qs(body, keep_blank_values=True)
    assert read["plain"] == value
    assert [read[f"deep[{place}]"] for place in range(len(value))] == [[one] for one in value]
    assert [urllib.parse.unquote_plus(one) for one in raw["flat"].split(",")] == value
    assert json.loads(read["json"][0]) == value
    assert json.loads(read["object"][0]) == {"a": value}
    assert "null" not in read
    assert form_body(form | {"object": 1}, {}) == encode_body(form | {"object": 1}, "form")


def test_parts_of_a_form_have_the_content_type_that_the_document_says():
    form = {"json": ["a", 1], "deep": "x", "text": {"a": 1}}
    encoding = ENCODING | {"text": OpenApiField(content_type="text/csv; charset=utf-8")}
    _, body = multipart_body(form, encoding)
    assert b'name="json"\r\nContent-Type: application/json\r\n\r\n["a", 1]\r\n' in body
    assert b'name="deep"\r\n\r\nx\r\n' in body
    assert b'name="text"\r\nContent-Type: text/csv; charset=utf-8\r\n\r\n{"a": 1}\r\n' in body


def test_lists_in_declared_queries_keep_their_lists():
    body = encode_body({"it": [["a", "b"], "c", None]}, "form")
    assert urllib.parse.parse_qs(body.decode()) == {"it": ['["a", "b"]', "c"]}
