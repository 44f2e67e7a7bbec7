"""A test query answered by an endpoint, as a flow; and what follows a call that is executed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.core.effects import (
    AskModel,
    CallTool,
    Flow,
    ModelReply,
    OfferedTool,
    Sampling,
    ToolResult,
)
from ste_ray.core.inferring.reading import read_prediction
from ste_ray.core.inferring.settings import (
    PromptContents,
    PromptMaterial,
    Query,
    Setting,
    prompt_contents,
)
from ste_ray.core.preparing.formatting import (
    failed_turns,
    native_dialog,
    native_failed_turns,
    observation_message,
    retrieved_dialog,
    toolken_dialog,
)
from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import Message, MessageCall, Oddity, Prediction
from ste_ray.core.replies.conversation import (
    assistant_message,
    explained,
    no_answer,
    result_message,
)
from ste_ray.core.replies.native import with_own_ids
from ste_ray.core.replies.parsing import FinalAnswer, ToolCall, parse_action
from ste_ray.core.replies.stop_texts import OBSERVATION_STOP, cut_at_stop
from ste_ray.core.replies.written_calls import marks_call
from ste_ray.core.toolkens import toolken, unescape_toolkens


@dataclass(frozen=True)
class AskedQuery:
    """A query with what an endpoint was shown, and what it replied.

    Attributes:
        prediction: the reply, read.
        messages: that were shown.
        tools: that were offered for native calls.
        keep_reasoning: whether the model gets back what it reasoned before a native call.
    """

    prediction: Prediction
    messages: tuple[Message, ...]
    tools: tuple[OfferedTool, ...] = ()
    keep_reasoning: bool = False


def answer_flow(
    query: Query,
    setting: Setting,
    material: PromptMaterial,
    sampling: Sampling,
    execute: Collection[str] | None = None,
) -> Flow[Prediction]:
    """Ask an endpoint for the call that answers a query, and execute it if wanted.

    Args:
        query: the test query.
        setting: says what the prompt shows.
        material: what it is made of.
        sampling: of all replies; that with the call ends before an observation.
        execute: tools whose calls are executed; None: none is.
    """
    asked = yield from ask_flow(query, setting, material, sampling)
    call = None if execute is None else call_to_execute(asked.prediction, execute)
    if call is None:
        return asked.prediction
    result = yield call
    assert isinstance(result, ToolResult)
    return (yield from conclude_flow(asked, result, sampling))


def ask_flow(
    query: Query, setting: Setting, material: PromptMaterial, sampling: Sampling
) -> Flow[AskedQuery]:
    """Ask an endpoint for the call that answers a query; see ``answer_flow``.

    Where the model says that the prompt is too long, candidates are left out from the end of their
    list, then demonstrations, and counted. A reply that does not come is an error of the row.
    """
    contents = prompt_contents(setting, query, material)
    stop = () if setting.is_native else OBSERVATION_STOP
    until_observation = sampling.model_copy(update={"stop": stop})
    left_out = 0
    while True:
        shown = contents.without(left_out)
        messages = dialog_of(query, setting, shown, material)
        tools = tuple(map(offered_tool, shown.tools)) if setting.is_native else ()
        reply = yield AskModel(
            role="assistant",
            messages=messages,
            sampling=until_observation,
            tools=tools,
            tool_choice=material.tool_choice,
        )
        assert isinstance(reply, ModelReply)
        more = contents.most_left_out - left_out
        if reply.finish_reason != "context_overflow" or not more:
            break
        left_out += max(1, more // 4)
    prediction = prediction_of(
        query,
        setting,
        messages,
        reply,
        sampling,
        native=setting.is_native,
        candidates=query.tools
        if setting.prompt == "dialog"
        else tuple(tool.name for tool in shown.tools),
        tools_left_out=len(contents.tools) - len(shown.tools),
        demonstrations_left_out=len(contents.demonstrations) - len(shown.demonstrations),
    )
    return AskedQuery(prediction, messages, tools, material.keep_reasoning)


def conclude_flow(asked: AskedQuery, result: ToolResult, sampling: Sampling) -> Flow[Prediction]:
    """Let the endpoint answer after what its call returned."""
    prediction = asked.prediction
    reply = yield AskModel(
        role="assistant",
        messages=concluding_dialog(
            asked.prediction, asked.messages, result.text, asked.keep_reasoning
        ),
        sampling=sampling,
        tools=asked.tools,
        tool_choice="none",
    )
    assert isinstance(reply, ModelReply)
    return prediction.model_copy(
        update={
            "observation": result.text,
            "observation_status": result.status,
            "final_answer": final_answer_of(reply.text),
            "final_error": _problem_of(reply, sampling)
            or calls_again(reply.text, reply.oddities, prediction.known_tools),
            "final_cut": reply.finish_reason == "length",
            "final_reasoning": reply.reasoning,
            "final_prompt_tokens": reply.prompt_tokens,
            "final_completion_tokens": reply.completion_tokens,
            "reasoning_tokens": prediction.reasoning_tokens + reply.reasoning_tokens,
            "oddities": (*prediction.oddities, *placed(reply.oddities, 1)),
        }
    )


def concluding_dialog(
    prediction: Prediction,
    messages: tuple[Message, ...],
    observation: str,
    keep_reasoning: bool = False,
) -> tuple[Message, ...]:
    """Return the dialog in which a model answers after what its call returned.

    Args:
        prediction: the reply with the call.
        messages: that the model replied to.
        observation: what the call returned.
        keep_reasoning: whether the model gets back what it reasoned before a native call.
    """
    if not prediction.native:
        return observed_dialog(messages, prediction.output_text, observation)
    reasoning = prediction.reasoning if keep_reasoning else ""
    calling = assistant_message(prediction.output_text, prediction.calls, reasoning)
    results = (result_message(call.id, observation) for call in prediction.calls)
    return (*messages, calling, *results)


def dialog_of(
    query: Query, setting: Setting, contents: PromptContents, material: PromptMaterial
) -> tuple[Message, ...]:
    """Return the messages of a prompt that shows ``contents``.

    Calls that failed before come last, as the model itself would have made them.
    """
    asked, failed = query.example, query.example.failed_calls
    if setting.prompt == "dialog":
        return query.dialog
    if setting.prompt == "toolken":
        dialog = toolken_dialog(asked.query, material.prompts)
        return (*dialog, *failed_turns(failed, asked.tool, toolken))
    examples = contents.demonstrations
    ordered = examples[::-1] if material.nearest_last else examples
    if setting.is_native:
        dialog = native_dialog(asked.query, ordered, material.prompts)
        return (*dialog, *native_failed_turns(failed, asked.tool))
    dialog = retrieved_dialog(asked.query, contents.tools, ordered, material.prompts)
    return (*dialog, *failed_turns(failed, asked.tool))


def call_to_execute(prediction: Prediction, tools: Collection[str]) -> CallTool | None:
    """Return the call that a prediction makes of one of ``tools``, if it makes one."""
    found = read_prediction(prediction, tools)
    if prediction.error or not isinstance(found, ToolCall):
        return None
    return CallTool.of(found.tool, found.arguments_json, found.arguments)


def observed_dialog(
    messages: Sequence[Message], output_text: str, observation: str
) -> tuple[Message, ...]:
    """Return a dialog gone on by the model's call and what the tool returned.

    It looks as in training: toolkens in what the tool returned are escaped.
    """
    return (*messages, assistant_message(output_text), observation_message(observation))


def final_answer_of(text: str) -> str:
    """Return the final answer in a reply; a reply without the marker is one as a whole.

    Models are trained to write what looks like a toolken escaped; here it is read back.
    """
    found = parse_action(text, (), suggest=False)
    return unescape_toolkens(found.text if isinstance(found, FinalAnswer) else text.strip())


def calls_again(text: str, oddities: Iterable[Oddity], names: Collection[str]) -> str:
    """Return why a reply that was to answer, and call nothing, is no answer; empty: it may be one.

    Args:
        text: of the reply.
        oddities: of the reply alone.
        names: of the tools that the model knows.
    """
    odd = {one.kind for one in oddities}
    marked = marks_call(final_answer_of(text), names)
    only_calls = "uncalled_for" in odd and not text.strip()
    if marked or only_calls or not odd.isdisjoint(("call_in_text", "unreadable_call")):
        return "the model calls again where it was to answer"
    return ""


def prediction_of(
    query: Query,
    setting: Setting,
    messages: tuple[Message, ...],
    reply: ModelReply,
    sampling: Sampling,
    *,
    native: bool,
    **shown: Any,
) -> Prediction:
    """Return what an endpoint replied to a query, with the right call beside it.

    Args:
        query: the query.
        setting: in which it was asked.
        messages: that were shown.
        reply: to them.
        sampling: of the reply.
        native: whether calls are looked for in its ``calls``, not in its text.
        shown: fields of the prediction that say what the prompt showed.
    """
    example = query.example
    text = reply.text if native else cut_at_stop(reply.text, OBSERVATION_STOP)
    calls, oddities = calls_of(reply, messages) if native else ((), placed(reply.oddities, 0))
    return Prediction(
        example_id=example.example_id,
        setting=setting.name,
        tool=example.tool,
        query=example.query,
        arguments_json=example.arguments_json,
        accepted_json=example.accepted_json,
        kind=example.kind,
        near_tool=example.near_tool,
        failed_calls=example.failed_calls,
        output_text=text,
        output_cut=reply.finish_reason == "length",
        native=native,
        calls=calls,
        oddities=oddities,
        error=_problem_of(reply, sampling),
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        reasoning=reply.reasoning,
        reasoning_tokens=reply.reasoning_tokens,
        **shown,
    )


def calls_of(
    reply: ModelReply, messages: Iterable[Message]
) -> tuple[tuple[MessageCall, ...], tuple[Oddity, ...]]:
    """Return the calls of a first reply, each with an id of its own, and what is odd about it.

    Args:
        reply: to ``messages``.
        messages: with the calls of demonstrations.
    """
    shown_ids = {call.id for message in messages for call in message.tool_calls}
    calls, mended = with_own_ids(reply.calls, shown_ids)
    return calls, placed((*reply.oddities, *mended), 0)


def placed(oddities: Iterable[Oddity], reply: int) -> tuple[Oddity, ...]:
    """Return what is odd about the first reply (0), or about the one with the final answer (1)."""
    return tuple(one.model_copy(update={"reply_index": reply}) for one in oddities)


def _problem_of(reply: ModelReply, sampling: Sampling) -> str:
    """Return why a reply is none; empty: it is one, also if it was cut at its limit."""
    failed = reply.finish_reason in ("failed", "refused", "context_overflow") or no_answer(reply)
    withheld = bool(reply.calls) or not reply.text  # what is left of calls may be a part of them
    failed = failed or (reply.finish_reason == "content_filter" and withheld)
    if not failed:
        return ""
    details = "; ".join(fault.detail for fault in reply.faults[-1:] if fault.detail)
    return ": ".join(filter(None, (explained(reply, sampling.max_tokens, "assistant"), details)))
