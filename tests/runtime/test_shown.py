"""What people see of native calls while they happen."""

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.records import Message, MessageCall
from ste_ray.runtime.drive import tell
from ste_ray.runtime.events import EventBuffer

CALLS = tuple(
    MessageCall(id=name, name=name, arguments_text=f'{{"n": {n}}}') for n, name in enumerate("ab")
)


def shown(messages, reply):
    events = EventBuffer()
    request = AskModel(role="explorer", messages=messages, sampling=Sampling())
    told = {}
    events.emit = lambda name, fields: told.update(fields)
    tell(events, request, reply, "scope", replayed=False)
    return told["prompt"], told["text"]


def test_calls_are_shown_after_what_a_reply_says():
    messages = (Message(role="user", content="go"),)
    assert shown(messages, ModelReply(text="I look.", calls=CALLS)) == (
        "go",
        'I look.\ncall: a {"n": 0}\ncall: b {"n": 1}',
    )
    assert shown(messages, ModelReply(text="done")) == ("go", "done")


def test_all_results_of_a_reply_are_shown():
    messages = (
        Message(role="user", content="go"),
        Message(role="assistant", content="", tool_calls=CALLS),
        Message(role="tool", content="1", tool_call_id="a"),
        Message(role="tool", content="2", tool_call_id="b"),
    )
    assert shown(messages, ModelReply(text="done")) == ("1\n2", "done")
