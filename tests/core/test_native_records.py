"""Messages with native calls, and that all that is older keeps its identity and its form."""

import json

import pyarrow as pa

from ste_ray.core.effects import AskModel, OfferedTool, Sampling
from ste_ray.core.records import Episode, Message, MessageCall
from ste_ray.core.replies.chat_form import chat_messages
from ste_ray.store.tables import from_table, to_table

USER = Message(role="user", content="héllo\n")
CALL = MessageCall(id="a1", name="get weather", arguments_text='{"b": 1, "a": 2}')
CALLING = Message(role="assistant", content="", tool_calls=(CALL,))
RESULT = Message(role="tool", content="3", tool_call_id="a1")
TOOL = OfferedTool(name="get weather", description="", parameters_json="{}")


def question(**fields):
    messages = (USER, Message(role="assistant", content="x"))
    sampling = Sampling(stop=("a",))
    return AskModel(role="explorer", messages=messages, sampling=sampling, account="t", **fields)


def test_what_has_no_calls_is_who_it_was():
    # As computed before messages could hold calls.
    assert USER.digest.startswith("49bad45080fbd961")
    assert question().request_hash == "3f653005e64f67c0"
    assert question(tool_choice="none").request_hash == "3f653005e64f67c0"


def test_all_that_makes_a_native_request_is_part_of_its_identity():
    other_id = CALL.model_copy(update={"id": "a2"})
    messages = [
        CALLING.model_copy(update={"tool_calls": ()}),
        CALLING,
        CALLING.model_copy(update={"tool_calls": (other_id,)}),
        CALLING.model_copy(update={"tool_calls": (CALL, other_id)}),
        CALLING.model_copy(update={"reasoning": "so"}),
        RESULT,
        RESULT.model_copy(update={"tool_call_id": "a2"}),
    ]
    renewed = [Message.model_validate(one.model_dump()) for one in messages]
    assert len({one.digest for one in renewed}) == len(messages)
    requests = [
        question(),
        question(tools=(TOOL,)),
        question(tools=(TOOL,), tool_choice="none"),
        question(tools=(TOOL.model_copy(update={"description": "x"}),)),
        question(tools=(TOOL.model_copy(update={"parameters_json": '{"type":"object"}'}),)),
        question(tools=(TOOL, TOOL)),
    ]
    assert len({one.request_hash for one in requests}) == len(requests)


def test_templates_and_endpoints_get_no_empty_fields():
    assert chat_messages([USER]) == [{"role": "user", "content": "héllo\n"}]
    function = {"name": "get_weather", "arguments": {"b": 1, "a": 2}}
    call = {"id": "a1", "type": "function", "function": function}
    assert chat_messages(
        [CALLING, RESULT], arguments="object", name_of=lambda _: "get_weather"
    ) == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "a1", "name": "get_weather"},
    ]
    written = chat_messages([CALLING, RESULT])
    assert written[0]["tool_calls"][0]["function"]["arguments"] == '{"b": 1, "a": 2}'
    assert "name" not in written[1]


def test_arguments_that_are_no_object_are_told_within_one():
    for text in ("{", "[1]", "null", "7", '{"n": NaN}', '{"n": 1} x'):
        calling = CALLING.model_copy(
            update={"tool_calls": (CALL.model_copy(update={"arguments_text": text}),)}
        )
        (message,) = chat_messages([calling], arguments="object")
        assert message["tool_calls"][0]["function"]["arguments"] == {"INVALID_JSON": text}
        (message,) = chat_messages([calling])
        told = json.loads(message["tool_calls"][0]["function"]["arguments"])
        assert told == {"INVALID_JSON": text}


def test_episodes_that_were_stored_before_there_were_calls_are_read():
    episode = Episode(
        episode_id="e",
        tool="t",
        tool_fingerprint="f",
        episode_number=0,
        messages=(USER, Message(role="assistant", content="x")),
        trials=(),
    )
    table = to_table([episode], Episode)
    old_message = pa.struct([("role", pa.string()), ("content", pa.string())])
    stored = [{"role": one.role, "content": one.content} for one in episode.messages]
    place = table.schema.get_field_index("messages")
    old = table.set_column(place, "messages", pa.array([stored], pa.list_(old_message)))
    assert from_table(old, Episode) == [episode]


def test_rows_of_tables_are_messages_again():
    rows = [one.model_dump() for one in (USER, CALLING, RESULT)]
    assert [Message.of_row(row) for row in rows] == [USER, CALLING, RESULT]
    assert Message.of_row({"role": "user", "content": "héllo\n"}).digest == USER.digest
