"""Replies read as they come: calls, text, and calls that are none, given as the text they are."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.served_toolkens.response_template import toolken_responses
from ste_ray.serving.replies import Piece, ReplyReader
from tests.byte_models import byte_tokenizer
from tests.native_templates import HERMES
from tests.served_model import tool

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
OFFERED = (tool(),)
READ = Piece("call", '{"city": "Oslo"}', "get_weather")


@pytest.fixture(scope="module")
def tokenizer():
    found = byte_tokenizer([CALL, str(tool())], 420, HERMES, ("<|im_start|>", "<|im_end|>"))
    marks = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
    found.add_tokens([AddedToken(one, special=False) for one in marks])
    return found


def read(tokenizer, text, *, tools=OFFERED, template=None, **options):
    """Read a reply token by token; gives its pieces, neighbours of a kind as one, and problems."""
    template = template or NativeChat(tokenizer).response_template()
    prompt = "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"
    reader = ReplyReader(tokenizer, template, prompt, tools, **options)
    found = []
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    for pieces in [*map(reader.feed, ids), reader.finish()]:
        for piece in pieces:
            if found and piece.kind == found[-1].kind != "call":
                piece = Piece(piece.kind, found.pop().text + piece.text)
            found.append(piece)
    return found, reader.problem


def test_text_and_calls_come_in_their_order(tokenizer):
    found, problem = read(tokenizer, f"I look.{CALL}<|im_end|>")
    assert (found, problem) == ([Piece("content", "I look."), READ], "")
    found, problem = read(tokenizer, f"<think>Hm.</think>{CALL}{CALL}<|im_end|>")
    assert (found, problem) == ([Piece("reasoning", "Hm."), READ, READ], "")


def test_a_call_whose_end_comes_with_more_text_in_one_token_is_a_call(tokenizer):
    """Byte-level tokenizers have tokens such as ``>\\n``; what follows such an end stays too."""
    odd = byte_tokenizer(["x"], 300, HERMES, ("<|im_start|>", "<|im_end|>"))
    ends = ["<tool_call>", "</tool_call> There.\n"]
    odd.add_tokens([AddedToken(one, special=False) for one in ends])
    template = NativeChat(tokenizer).response_template()
    found, problem = read(odd, f"{CALL} There.\n{CALL}<|im_end|>", template=template)
    assert problem == ""
    assert [piece for piece in found if piece.kind == "call"] == [READ, READ]
    assert "".join(one.text for one in found if one.kind == "content").strip() == "There."


@pytest.mark.parametrize(
    "broken",
    [
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": }}\n</tool_call>',
        '<tool_call>\n{"name": 3, "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": [1]}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a": NaN}}\n</tool_call>',
        f'<tool_call>\n{{"name": "f", "arguments": {"[" * 3000}\n</tool_call>',
        '<tool_call>\n{"name": "f", "argu',
        "<tool_call>\n[]\n</tool_call>",
    ],
)
@pytest.mark.parametrize("before", ["", "t<>_cal", "<think>call</think>", "I look. "])
def test_what_is_no_call_is_given_once_as_it_was_written(tokenizer, broken, before):
    """Also behind texts that stand within the marks of calls, and with what comes after."""
    found, problem = read(tokenizer, f"{before}{broken} Well.<|im_end|>")
    assert problem
    text = "".join(one.text for one in found if one.kind == "content")
    before = "" if before.startswith("<think>") else before
    assert text == f"{before}{broken} Well."


def test_a_good_call_before_a_broken_one_stays(tokenizer):
    found, problem = read(tokenizer, f"{CALL}<tool_call>oh</tool_call><|im_end|>")
    assert problem
    assert found == [READ, Piece("content", "<tool_call>oh</tool_call>")]


def test_without_tools_a_call_is_the_text_that_it_is(tokenizer):
    found, problem = read(tokenizer, f"<think>t</think>I look. {CALL} So.<|im_end|>", tools=())
    assert problem == ""
    assert found[0] == Piece("reasoning", "t")
    assert "".join(one.text for one in found[1:]) == f"I look. {CALL} So."


def test_toolkens_are_read_and_named_as_offered():
    tokenizer = byte_tokenizer(["Action: Action Input: Final Answer: Thought:"], 340, "x")
    tokenizer.add_tokens([AddedToken("<tool_a b>", special=False)])
    template = toolken_responses(["<eos>"])
    options = {"template": template, "names": {"a b": "a_b__1"}}
    call = 'Action: <tool_a b>\nAction Input: {"n": 1}'
    found, problem = read(tokenizer, f"Thought: I see.\n{call}<eos>", **options)
    assert (found[-1], problem) == (Piece("call", '{"n": 1}', "a_b__1"), "")
    assert found[0].kind == "reasoning"
    found, _ = read(tokenizer, f"{call}\n{call}<eos>", **options)
    assert [piece.kind for piece in found] == ["call", "call"]
    assert read(tokenizer, "Final Answer: 7<eos>", **options)[0] == [Piece("content", "7")]
    assert read(tokenizer, "7<eos>", **options)[0] == [Piece("content", "7")]
    found, problem = read(tokenizer, "Action: <tool_a b>\nAction Input: {1<eos>", **options)
    assert problem
    assert found == [Piece("content", "Action: <tool_a b>\nAction Input: {1")]


def test_a_reply_without_a_template_is_text_without_special_tokens(tokenizer):
    reader = ReplyReader(tokenizer, None, "", ())
    ids = tokenizer("Hello é<|im_end|>", add_special_tokens=False)["input_ids"]
    text = "".join(piece.text for token in ids for piece in reader.feed(token))
    assert (text, reader.finish()) == ("Hello é", [])
