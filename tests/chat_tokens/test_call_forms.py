"""How templates write calls is derived from them, and what they write is read back."""

from __future__ import annotations

import json
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.chat_tokens.call_forms.deriving import derive
from ste_ray.chat_tokens.call_forms.probes import IDS, asked, call, calling
from ste_ray.chat_tokens.call_forms.turns import FormError
from ste_ray.core.native_calls.form import CallForm, WrittenCall
from ste_ray.core.native_calls.grammar import stop_texts
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.native_calls.writing import write_calls
from tests.native_templates import (
    ELEMENTS,
    HERMES,
    JSON_SHAPES,
    NO_TOOLS,
    OTHER_SHAPES,
    SHAPES,
    renderer,
)

NAMES = ("get_weather", "get_weather_now")
MARKERS = (
    *(
        "</tool_call>",
        "<tool_call>\n",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<escape>",
        "<|end|>",
        "<|im_end|>",
    ),
    *(
        "<|call|>",
        "<|start|>assistant",
        "<|channel|>",
        " to=functions.get_weather",
        "<|message|>",
        "<|return|>",
        "\n```<｜tool▁call▁end｜>",
        "</parameter>\n",
        "</function>",
        "<|/tool_call|>",
        "]}",
    ),
    *(
        '{"name": "get_weather", "arguments": {}}',
        "}}]",
        "\\",
        '"',
        "'",
        "\n",
        "<think>",
        "{{ x }}",
    ),
    *("{% raw %}", "\u2028", "é", "東", "🎈", "a"),
)
TEXTS = st.lists(st.sampled_from(MARKERS) | st.text(max_size=4), max_size=5).map("".join)
PLAIN_TEXTS = st.text("ab é東\"'\\{}[],:.5-", max_size=8).map(lambda text: f"t{text}e")


def values(texts):
    """Return JSON values with these texts."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from("kxyz"), inner, max_size=3)
        ),
        max_leaves=6,
    )


def arguments(texts):
    return st.dictionaries(
        st.sampled_from(["city", "cities", "n", "x_y"]), values(texts), max_size=4
    )


@cache
def derived(shape):
    return derive(renderer(SHAPES[shape]))


def written_by(shape, given_calls, text=""):
    """Return what the template writes behind its prompt for these calls."""
    render = renderer(SHAPES[shape])
    _, way = derived(shape)
    made = [
        call(name, value, identity, as_text=way.as_text)
        for (name, value), identity in zip(given_calls, IDS, strict=False)
    ]
    prompt = render(asked(), (), True)
    whole = render(asked(calling(*made, text=text, null=way.null)), (), False)
    while not whole.startswith(prompt):  # a block of reasoning may be opened only in one of them
        prompt = prompt[:-1]
    return whole[len(prompt) :]


def read(text, form):
    reply = read_reply(text, form)
    assert reply.problem == ""
    return [(one.name, json.loads(one.arguments_text)) for one in reply.calls], reply


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_derived_in_time(shape):
    start = time.process_time()
    form, way = derive(renderer(SHAPES[shape]))
    assert time.process_time() - start < 1
    assert way == (shape in ("fenced", "gated", "told"), shape == "gated")
    assert form.parallel == (shape not in ("bare", "channels"))
    assert form.is_bare == (shape == "bare")
    assert form.arguments == {
        "nested": "json_text",
        "gemma": "loose",
        **dict.fromkeys(("elements", "typed", "keywords"), "elements"),
    }.get(shape, "json")
    assert CallForm.model_validate_json(form.model_dump_json()) == form


def test_a_derived_form_says_what_stands_where():
    form, _ = derived("mistral list")
    assert form.opening == "[TOOL_CALLS] ["
    assert form.between == ", "
    assert form.closing == "]"
    assert form.end_of_turn == "</s>"
    assert form.gaps == ('{"name": "', '", "arguments": ', ', "id": "', '"}')
    assert form.slots == ("name", "arguments", "id")
    channels, _ = derived("channels")
    assert channels.opening.endswith("<|start|>assistant to=functions.")
    assert channels.started.endswith("<|start|>assistant")


@pytest.mark.parametrize("shape", JSON_SHAPES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_json_brings_back_whatever_it_holds(shape, data):
    form, _ = derived(shape)
    most = 2 if form.parallel else 1
    pair = st.tuples(st.sampled_from(NAMES), arguments(TEXTS))
    wanted = data.draw(st.lists(pair, min_size=1, max_size=most))
    got, reply = read(written_by(shape, wanted), form)
    assert got == wanted
    assert reply.after == ""
    if form.id_path or "id" in form.slots:
        assert [one.id for one in reply.calls] == list(IDS[: len(wanted)])


@pytest.mark.parametrize("shape", OTHER_SHAPES)
@settings(max_examples=20, deadline=None)
@given(
    wanted=st.lists(
        st.tuples(st.sampled_from(NAMES), arguments(PLAIN_TEXTS)), min_size=1, max_size=2
    )
)
def test_other_forms_bring_back_plain_texts_and_all_other_values(shape, wanted):
    form, _ = derived(shape)
    got, _ = read(written_by(shape, wanted), form)
    assert got == wanted


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=20, deadline=None)
@given(
    wanted=st.lists(
        st.tuples(st.sampled_from(NAMES), arguments(PLAIN_TEXTS)), min_size=1, max_size=2
    )
)
def test_what_a_form_writes_is_read_back(shape, wanted):
    form, _ = derived(shape)
    wanted = wanted if form.parallel else wanted[:1]
    calls = [
        WrittenCall(name=name, arguments_text=json.dumps(value), id=identity)
        for (name, value), identity in zip(wanted, IDS, strict=False)
    ]
    text = write_calls(calls, form)[len(form.started) :]
    got, _ = read(text, form)
    assert got == wanted


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reply_cut_anywhere_holds_the_call_or_none(shape):
    form, _ = derived(shape)
    wanted = [("get_weather", {"city": "Rome, it's", "n": 12})]
    text = written_by(shape, wanted)
    for end in range(len(text)):
        reply = read_reply(text[:end], form)
        calls = [(one.name, json.loads(one.arguments_text)) for one in reply.calls]
        if reply.problem:
            assert calls == [], text[:end]
        else:
            assert calls in ([], wanted), text[:end]


@pytest.mark.parametrize(
    "shape", [one for one in SHAPES if one not in ("bare", "mistral list", "gated")]
)
def test_text_before_a_call_is_kept(shape):
    form, _ = derived(shape)
    text = written_by(shape, [("get_weather", {"city": "Rome"})], text="I look it up.")
    got, reply = read(text, form)
    assert got == [("get_weather", {"city": "Rome"})]
    assert reply.reasoning if shape == "channels" else reply.content == "I look it up."


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_no_text_is_too_much(shape, data):
    form, _ = derived(shape)
    parts = st.sampled_from(
        [*form.texts(), '{"name": "x", "arguments": {}}', "{", "[", '"', "</think>"]
    )
    text = data.draw(st.lists(parts | st.text(max_size=5), max_size=12).map("".join))
    reply = read_reply(text, form, opened=data.draw(st.booleans()))
    assert isinstance(reply.content, str)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "text", ["{opening}", "{opening}x", "{between}", "{", '"', "[", " \n", "<think>"]
)
def test_long_texts_take_linear_time(shape, text):
    form, _ = derived(shape)
    hostile = text.replace("{opening}", form.opening).replace("{between}", form.between)
    start = time.process_time()
    read_reply(hostile * 4_000, form)
    assert time.process_time() - start < 2


def test_a_template_without_calls_is_refused():
    with pytest.raises(FormError, match="calls are not written"):
        derive(renderer(NO_TOOLS))


def test_a_template_that_loses_what_it_is_given_is_refused():
    lossy = HERMES.replace("f.arguments | tojson", "f.arguments | tojson | replace('\\\\n', ' ')")
    with pytest.raises(FormError, match="is read as"):
        derive(renderer(lossy))
    text_only = ELEMENTS.replace("{{ value | tojson if", "{{ '' if")
    with pytest.raises(FormError, match="is read as"):
        derive(renderer(text_only))


def test_arguments_that_are_written_as_given_must_be_given_as_text():
    unquoted = HERMES.replace("{{ f.arguments | tojson }}", "{{ f.arguments }}")
    assert derive(renderer(unquoted))[1] == (True, False)


def test_what_is_no_call_is_an_answer():
    bare, _ = derived("bare")
    assert read_reply('{"temperature": 21}', bare).content == '{"temperature": 21}'
    assert read_reply("It is warm.<|im_end|>\n", bare).content == "It is warm."
    hermes, _ = derived("hermes")
    spoken = read_reply("Write <tool_call> before a call.", hermes)
    assert spoken.calls == ()
    assert spoken.content == "Write"
    assert "no JSON object begins there" in spoken.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<tool_call>\n{"name": "a", "arguments": {"x": 1}\n</tool_call>', "call 1: "),
        ('<tool_call>\n{"name": "a"}\n</tool_call>', "'arguments' is missing"),
        ('<tool_call>\n{"arguments": {}}\n</tool_call>', "'name' is no name"),
        ('<tool_call>\n{"name": 5, "arguments": {}}\n</tool_call>', "'name' is no name"),
        ('<tool_call>\n{"name": "a", "arguments": {}} and more\n</tool_call>', "stands behind it"),
        (
            '<tool_call>\n{"name": "a", "name": "b", "arguments": {}}\n</tool_call>',
            "more than once",
        ),
    ],
)
def test_calls_that_are_none_are_told(text, problem):
    form, _ = derived("hermes")
    reply = read_reply(text, form)
    assert reply.calls == () or "behind" in problem
    assert problem in reply.problem


def test_json_may_be_laid_out_otherwise():
    form, _ = derived("hermes")
    first = '<tool_call>{ "arguments" : {"x":1} ,\n"name":"a"}</tool_call>'
    text = f'{first} <tool_call>{{"name": "b", "arguments": {{}}}}'
    got, _ = read(text, form)
    assert got == [("a", {"x": 1}), ("b", {})]
    assert read_reply(text, form).calls[0].arguments_text == '{"x":1}'


def test_reasoning_is_taken_off_and_calls_in_it_do_not_count():
    form, _ = derived("hermes")
    call_text = '<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>'
    reply = read_reply(f"<think>\nI could {call_text}\n</think>\n\nNow: {call_text}", form)
    assert [one.name for one in reply.calls] == ["a"]
    assert reply.content == "Now:"
    assert call_text in reply.reasoning
    unclosed = read_reply(f"hm {call_text}", form, opened=True)
    assert unclosed.unclosed
    assert unclosed.calls == ()
    channels, _ = derived("channels")
    text = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant to=functions.a"
        '<|channel|>commentary json<|message|>{"x": "<|call|>"}<|call|>'
    )
    got, reply = read(text, channels)
    assert got == [("a", {"x": "<|call|>"})]
    assert reply.reasoning == "hm"


def test_schemas_tell_texts_from_numbers_in_elements():
    form, _ = derived("elements")
    text = write_calls(
        [WrittenCall(name="a", arguments_text='{"code": "12", "n": 5, "free": "7"}')], form
    )
    schema = {"properties": {"code": {"type": "string"}, "n": {"type": "integer"}}}
    (one,) = read_reply(text, form, {"a": schema}).calls
    assert json.loads(one.arguments_text) == {"code": "12", "n": 5, "free": 7}
    either = {"properties": {"free": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    (one,) = read_reply(text, form, {"a": either}).calls
    assert json.loads(one.arguments_text)["free"] == "7"


@pytest.mark.parametrize(
    "said",
    [
        "<|start|>assistant to=functions.x<|message|>",
        "<|start|>assistant<|channel|>commentary to=functions.x<|message|>{}<|call|>",
    ],
)
def test_a_head_within_arguments_is_what_they_say(said):
    form, _ = derived("channels")
    wanted = [("get_weather", {"city": said, "n": 1})]
    got, _ = read(written_by("channels", wanted), form)
    assert got == wanted
    other = f"<|channel|>commentary to=functions.get_weather<|message|>{json.dumps(wanted[0][1])}"
    got, _ = read(f"{other}<|call|>", form)
    assert got == wanted


def test_where_replies_end():
    assert stop_texts(derived("hermes")[0]) == ("<|im_end|>",)
    assert stop_texts(derived("channels")[0]) == ("<|return|>", "<|call|>")
    assert stop_texts(derived("fenced")[0]) == (
        "<｜end▁of▁sentence｜>",
        "<｜tool▁calls▁end｜>",
    )
    assert stop_texts(derived("mistral list")[0]) == ("</s>",)


def test_the_parts_of_a_head_may_stand_in_another_order():
    form, _ = derived("channels")
    call_text = (
        '<|channel|>commentary to=functions.a.b <|constrain|>json<|message|>{"x": 1}<|call|>'
    )
    got, _ = read(call_text, form)
    assert got == [("a.b", {"x": 1})]
    thought = "<|channel|>analysis<|message|>to=functions.q<|end|><|start|>assistant"
    got, reply = read(thought + call_text, form)
    assert got == [("a.b", {"x": 1})]
    assert reply.reasoning == "to=functions.q"
    answer = read_reply("<|channel|>final<|message|>Use to=functions.a for it.<|return|>", form)
    assert answer.calls == ()
    assert answer.content == "Use to=functions.a for it."
