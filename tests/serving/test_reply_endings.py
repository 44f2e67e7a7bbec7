"""How replies end that are cut, stopped, or lack the call that they must have."""

from __future__ import annotations

import asyncio
import json

import pytest
from tokenizers import AddedToken
from transformers import GenerationConfig

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.served_toolkens.response_template import toolken_responses
from ste_ray.serving.answering import Answer
from ste_ray.serving.decoding import Asked
from ste_ray.serving.preparing import Prepared
from ste_ray.serving.replies import Piece, ReplyReader
from ste_ray.serving.requests import RequestError, read_request
from ste_ray.serving.wire import Reply
from tests.byte_models import byte_tokenizer
from tests.native_templates import HERMES
from tests.served_model import tool

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
READ = Piece("call", '{"city": "Oslo"}', "get_weather")
END = "<|im_end|>"
TOOLKEN_CALL = 'Action: <tool_get_weather>\nAction Input: {"city": "Oslo"}'


@pytest.fixture(scope="module")
def native():
    found = byte_tokenizer([CALL, str(tool())], 420, HERMES, ("<|im_start|>", END))
    found.add_tokens([AddedToken("<tool_call>", special=False)])
    return found, NativeChat(found).response_template()


@pytest.fixture(scope="module")
def toolken():
    found = byte_tokenizer([f"{TOOLKEN_CALL} Final Answer: Thought:"], 340, "x")
    found.add_tokens([AddedToken("<tool_get_weather>", special=False)])
    return found, toolken_responses(["<eos>"])


class Decoder:
    """Stands in for the thread that decodes: it has said these tokens."""

    def __init__(self, ids):
        self._ids = ids

    async def tokens(self, _):
        for one in self._ids:
            yield one


def answered(model, text, *, room=0, **fields):
    """Answer with a text, after which there is room for so many tokens; gives pieces and reply."""
    tokenizer, template = model
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [tool()]}
    request = read_request(json.dumps({**body, **fields}).encode())
    reader = ReplyReader(tokenizer, template, "x", request.offered)
    end = tokenizer.convert_tokens_to_ids(END if END in text else "<eos>")
    config = GenerationConfig(max_new_tokens=len(ids) + room, eos_token_id=[end])
    reply, lines = Reply("m", 1), []
    answer = Answer(
        Prepared(request, Asked([1], config), reader, {}), Decoder(ids), reply, lines.append
    )

    async def read():
        return [piece async for piece in answer.pieces()]

    return asyncio.run(read()), reply, lines


def content(pieces):
    return "".join(one.text for one in pieces if one.kind == "content").strip()


WHOLE = CALL.index("\n</tool_call>")


@pytest.mark.parametrize("kept", range(1, WHOLE))
def test_half_a_call_behind_a_whole_one_is_left_out_and_the_reply_is_cut(native, kept):
    pieces, reply, lines = answered(native, CALL + CALL[:kept])
    assert (pieces, reply.finish) == ([READ], "length")
    assert lines == ["serve: a call that was cut at the last token of the reply is left out"]


@pytest.mark.parametrize("kept", [WHOLE, WHOLE + 1, *range(WHOLE + 3, len(CALL) + 1)])
def test_a_call_that_lacks_only_the_mark_behind_it_is_whole(native, kept):
    pieces, reply, lines = answered(native, CALL + CALL[:kept])
    assert (pieces, reply.finish, lines) == ([READ, READ], "tool_calls", [])


@pytest.mark.parametrize("kept", range(1, len(TOOLKEN_CALL)))
def test_so_it_is_with_toolkens(toolken, kept):
    pieces, reply, _ = answered(toolken, f"{TOOLKEN_CALL}\n{TOOLKEN_CALL[:kept]}")
    assert (pieces, reply.finish) == ([READ], "length")


@pytest.mark.parametrize("kept", range(len(TOOLKEN_CALL) - 18, len(TOOLKEN_CALL) + 1))
def test_a_call_with_toolkens_is_whole_with_its_last_brace(toolken, kept):
    pieces, reply, lines = answered(toolken, TOOLKEN_CALL[:kept])
    is_whole = kept == len(TOOLKEN_CALL)
    expected = ([READ], "tool_calls") if is_whole else ([], "length")
    assert (pieces, reply.finish) == expected
    assert len(lines) == (not is_whole)


def test_half_a_first_call_is_no_text_either(native):
    pieces, reply, _ = answered(native, f"I look.{CALL[:40]}")
    assert (content(pieces), reply.finish) == ("I look.", "length")
    # One that the model ended itself is the text that it is.
    pieces, reply, _ = answered(native, f"I look.{CALL[:40]}{END}", room=5)
    assert (content(pieces), reply.finish) == (f"I look.{CALL[:40]}", "stop")
    # And so is what looks like one where no tool is offered.
    pieces, reply, _ = answered(native, f"I look.{CALL[:40]}", tools=None)
    assert (content(pieces), reply.finish) == (f"I look.{CALL[:40]}", "length")


@pytest.mark.parametrize(
    ("text", "room", "finish"),
    [
        (CALL, 0, "tool_calls"),  # whole with the last token
        (f"{CALL}\n", 0, "tool_calls"),
        (f"{CALL}{END}", 0, "tool_calls"),
        (f"{CALL} And so", 0, "length"),
        (f"{CALL} And so{END}", 4, "tool_calls"),
        (f"So{END}", 0, "stop"),
        ("So", 0, "length"),
    ],
)
def test_why_a_reply_ended(native, text, room, finish):
    assert answered(native, text, room=room)[1].finish == finish


@pytest.mark.parametrize(
    ("text", "room", "fields", "reason"),
    [
        ("Well", 0, {}, "it may have no more; raise max_tokens"),
        (CALL[:30], 0, {}, "it may have no more; raise max_tokens"),
        (f"Well{END}", 9, {}, "the model ended it"),
        (f"We stop{END}", 9, {"stop": "stop"}, "one of the texts of 'stop' ended it"),
        (f"<tool_call>oh</tool_call>{END}", 9, {}, "what began like a call cannot be read"),
    ],
)
def test_a_forced_call_that_is_not_there_is_told_with_its_reason(
    native, text, room, fields, reason
):
    with pytest.raises(RequestError) as told:
        answered(native, text, room=room, tool_choice="required", **fields)
    assert reason in told.value.message
    assert ("max_tokens" in told.value.message) == ("raise max_tokens" in reason)


def test_what_stands_before_the_marker_of_an_answer_is_kept(toolken):
    """As ``transformers serve`` reads it, whole and in a stream."""
    tokenizer, template = toolken
    tokenizer.response_template = template
    text = "Let me see.\nFinal Answer: 7<eos>"
    assert content(answered(toolken, text, room=1)[0]) == "Let me see.\n7"
    assert tokenizer.parse_response(text, prefix="")["content"] == "Let me see.\n7"
    assert tokenizer.parse_response("Final Answer: 7<eos>", prefix="")["content"] == "7"
