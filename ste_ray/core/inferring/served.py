"""A test query asked of a deployed model as its clients ask it, and the reply as they read it.

Clients know nothing of settings: they send messages and ``tools``, and look for ``tool_calls``.
What was recorded in a setting says which messages and tools make its prompt again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.inferring.answering import dialog_of, prediction_of
from ste_ray.core.inferring.settings import (
    PromptContents,
    PromptMaterial,
    Query,
    Setting,
    prompt_contents,
)
from ste_ray.core.preparing.formatting import native_dialog, native_failed_turns
from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import Message, MessageCall, Prediction
from ste_ray.core.replies.stop_texts import OBSERVATION_STOP
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.errors import ConfigError

# Those that the recorded prompt showed or the model has learned, all that the run has taught, the
# right one alone; or none, so that the request goes as the text of the setting's prompt.
ToolsSent = Literal["candidates", "all", "right", "none"]
TOOLS_SENT: tuple[ToolsSent, ...] = get_args(ToolsSent)


def tools_sent_in(setting: Setting, wanted: ToolsSent | None) -> ToolsSent:
    """Return which tools go with requests; None: those that make the setting's prompt again.

    Raises:
        ConfigError: the setting offers tools natively, and none are to be sent.
    """
    if wanted == "none" and setting.is_native:
        raise ConfigError(
            f"--tools 'none' sends requests as text, and the setting {setting.name!r} calls tools"
            " natively; give --tools candidates, all or right, or another --setting"
        )
    own: ToolsSent = "candidates" if setting.is_native or setting.prompt == "toolken" else "none"
    return wanted or own


def served_flow(
    query: Query,
    recorded: Prediction,
    setting: Setting,
    material: PromptMaterial,
    sampling: Sampling,
    tools: ToolsSent,
    learned: Sequence[str],
    system: bool = True,
) -> Flow[Prediction]:
    """Ask a deployed model for the call that answers a query.

    Args:
        query: the test query.
        recorded: what the model answered in the setting, before it was deployed.
        setting: the setting.
        material: what prompts are made of.
        sampling: of the reply.
        tools: which ones are sent.
        learned: names of the tools that the run has taught.
        system: whether the system message of the setting is sent; servers may bring their own.
    """
    contents = prompt_contents(setting, query, material)
    left_out = recorded.tools_left_out + recorded.demonstrations_left_out
    shown = contents.without(left_out)
    native = tools != "none"
    messages = (
        _client_messages(query, setting, shown, material)
        if native
        else dialog_of(query, setting, shown, material)
    )
    if not system:
        messages = tuple(message for message in messages if message.role != "system")
    names = _names(tools, recorded, learned, material)
    reply = yield AskModel(
        role="assistant",
        messages=messages,
        sampling=sampling if native else sampling.model_copy(update={"stop": OBSERVATION_STOP}),
        tools=tuple(offered_tool(material.specs[name]) for name in names),
        tool_choice=material.tool_choice,
    )
    assert isinstance(reply, ModelReply)
    return prediction_of(
        query,
        setting,
        messages,
        _with_true_names(reply, material),
        sampling,
        native=native,
        candidates=names,
    )


def _client_messages(
    query: Query, setting: Setting, shown: PromptContents, material: PromptMaterial
) -> tuple[Message, ...]:
    """Return the messages that go beside tools; none of them describes a tool."""
    if setting.prompt == "dialog":
        return query.dialog
    failed = native_failed_turns(query.example.failed_calls, query.example.tool)
    if setting.prompt == "toolken":  # what looks like a toolken the server has to escape
        system = material.prompts.system_message("act_system")
        return (system, Message(role="user", content=query.example.query), *failed)
    demonstrations = shown.demonstrations
    ordered = demonstrations[::-1] if material.nearest_last else demonstrations
    return (*native_dialog(query.example.query, ordered, material.prompts), *failed)


def _names(
    tools: ToolsSent, recorded: Prediction, learned: Sequence[str], material: PromptMaterial
) -> tuple[str, ...]:
    if tools == "none":
        return ()
    if tools == "right" and recorded.needs_call:
        return (recorded.tool,)
    if tools == "candidates" and recorded.candidates:
        return tuple(name for name in recorded.candidates if name in material.specs)
    return tuple(learned)


def _with_true_names(reply: ModelReply, material: PromptMaterial) -> ModelReply:
    """Return a reply with the true names of tools that were not sent; those sent have them."""
    names = _by_safe_name(material) if reply.calls else {}
    calls = tuple(_renamed(call, names) for call in reply.calls)
    return reply if calls == reply.calls else reply.model_copy(update={"calls": calls})


def _by_safe_name(material: PromptMaterial) -> Mapping[str, str]:
    return {safe_name(name): name for name in material.specs}


def _renamed(call: MessageCall, names: Mapping[str, str]) -> MessageCall:
    true = names.get(call.name, call.name)
    return call if true == call.name else call.model_copy(update={"name": true})
