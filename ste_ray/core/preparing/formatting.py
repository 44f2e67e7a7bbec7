"""Examples as dialogs: what a model is trained on, and what it is asked at inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from ste_ray.core.prompts import PromptSet, describe_tools
from ste_ray.core.records import (
    Example,
    FailedCall,
    Message,
    MessageCall,
    RowKind,
    TrainRow,
    text_fingerprint,
)
from ste_ray.core.replies.conversation import assistant_message, result_message
from ste_ray.core.texts.cutting import cut_text
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import escape_toolkens, toolken

_SHOWN_CHARS = 400  # of what a demonstration's call returned: what matters is the call


def call_text(name: str, arguments_json: str) -> str:
    """Return a call in the format that the parser reads and the model is trained to write.

    What looks like a toolken inside the arguments is written as the JSON escape of its bracket.
    """
    arguments = arguments_json.replace("<tool_", "\\u003ctool_")
    return f"Action: {name}\nAction Input: {arguments}"


def toolken_dialog(query: str, prompts: PromptSet) -> tuple[Message, ...]:
    """The dialog of a model with toolkens: no descriptions, the tools are in the vocabulary."""
    user = Message(role="user", content=escape_toolkens(query))
    return (prompts.system_message("act_system"), user)


def retrieved_dialog(
    query: str,
    tools: Sequence[ToolSpec],
    demonstrations: Sequence[Example],
    prompts: PromptSet,
) -> tuple[Message, ...]:
    """The dialog of a model that reads candidate tools, and demonstrations, in its prompt."""
    system = prompts.render("act_system_retrieved", tools=describe_tools(tools))
    messages = [Message(role="system", content=system)]
    for example in demonstrations:
        messages.append(Message(role="user", content=escape_toolkens(example.query)))
        answer = call_text(example.tool, example.arguments_json)
        messages.append(Message(role="assistant", content=answer))
    messages.append(Message(role="user", content=escape_toolkens(query)))
    return tuple(messages)


def native_dialog(
    query: str, demonstrations: Sequence[Example], prompts: PromptSet
) -> tuple[Message, ...]:
    """The dialog of a model that calls natively; its tools are told apart from the messages.

    Demonstrations are earlier turns: request, call, its result as far as it is short, answer.
    """
    messages = [prompts.system_message("act_system_native")]
    for number, example in enumerate(demonstrations):
        call = MessageCall(
            id=f"demo{number:05d}", name=example.tool, arguments_text=example.arguments_json
        )
        messages.append(Message(role="user", content=example.query))
        messages.append(assistant_message("", (call,)))
        messages.append(result_message(call.id, cut_text(example.observation, _SHOWN_CHARS)))
        if example.final_answer:
            messages.append(Message(role="assistant", content=example.final_answer))
    messages.append(Message(role="user", content=query))
    return tuple(messages)


def example_dialog(
    example: Example, prompts: PromptSet, tool_responses: bool
) -> tuple[Message, ...]:
    """Return an example as a dialog: system, request, call and, if wanted, result and answer.

    A test that needs no call ends with its answer, if it has one. In a test of recovery, calls that
    failed come before the right one.
    """
    if not example.needs_call:
        return (*toolken_dialog(example.query, prompts), *_answer_alone(example))
    call = call_text(toolken(example.tool), example.arguments_json)
    shown = example.failed_calls if example.split == "test" else ()
    asked = (*toolken_dialog(example.query, prompts), *failed_turns(shown, example.tool, toolken))
    dialog = (*asked, Message(role="assistant", content=call))
    if not tool_responses:
        return dialog
    answer = f"Final Answer: {escape_toolkens(example.final_answer)}"
    return (
        *dialog,
        observation_message(example.observation),
        Message(role="assistant", content=answer),
    )


def observation_message(observation: str) -> Message:
    """Return what a call returned as the text form has it; toolkens in it are escaped."""
    return Message(role="user", content=f"Observation: {escape_toolkens(observation)}")


def failed_turns(
    failed: Sequence[FailedCall], tool: str, written: Callable[[str], str] = str
) -> tuple[Message, ...]:
    """Return calls that failed, each with what came back, as they follow a request.

    Args:
        failed: the calls, in their order.
        tool: the name of their tool; a request that needs no call has none.
        written: how calls have it: ``toolken``, or as it is.
    """
    return tuple(
        message
        for one in failed
        for message in (
            Message(role="assistant", content=call_text(written(tool), one.arguments_json)),
            observation_message(one.observation),
        )
    )


def native_failed_turns(failed: Sequence[FailedCall], tool: str) -> tuple[Message, ...]:
    """Return calls that failed, each with what came back, as native dialogs have them."""
    messages = []
    for number, one in enumerate(failed):
        call = MessageCall(id=f"old{number:06d}", name=tool, arguments_text=one.arguments_json)
        messages += [assistant_message("", (call,)), result_message(call.id, one.observation)]
    return tuple(messages)


def _answer_alone(example: Example) -> tuple[Message, ...]:
    if not example.final_answer:
        return ()
    answer = f"Final Answer: {escape_toolkens(example.final_answer)}"
    return (Message(role="assistant", content=answer),)


def training_rows(example: Example, prompts: PromptSet, tool_responses: bool) -> list[TrainRow]:
    """Return the rows of an example: the call and, if wanted, the final answer after it.

    Where the call mended others, two such rows come after these: in them the calls that failed,
    with what came back, are part of the dialog, on which there is no loss.
    """
    if example.split == "test":
        raise ValueError(f"example {example.example_id!r} belongs to the test split")
    dialog = example_dialog(example, prompts, tool_responses)
    rows = _rows_of(example, "tool_call", "final_answer", dialog[:2], dialog[2:])
    if example.failed_calls:
        asked = (*dialog[:2], *failed_turns(example.failed_calls, example.tool, toolken))
        rows += _rows_of(example, "mended_call", "mended_answer", asked, dialog[2:])
    return rows


def _rows_of(
    example: Example,
    of_call: RowKind,
    of_answer: RowKind,
    asked: tuple[Message, ...],
    rest: tuple[Message, ...],
) -> list[TrainRow]:
    """Return the row of the call that answers what is asked, and of the answer, if there is one."""
    call, *after = rest
    rows = [_row(example, of_call, asked, call.content)]
    if after:
        observed, answer = after
        rows.append(_row(example, of_answer, (*asked, call, observed), answer.content))
    return rows


def general_row(
    dialog: Sequence[Message],
    response: str,
    split: Literal["train", "validation"],
    prompts: PromptSet,
) -> TrainRow:
    """Return the row of a general example: normal mode, as without tools.

    A dialog with a system message of its own keeps it. What looks like a toolken is escaped.
    """
    return _general("general", "general_system", dialog, response, split, prompts)


def general_no_call_row(
    dialog: Sequence[Message],
    response: str,
    split: Literal["train", "validation"],
    prompts: PromptSet,
) -> TrainRow:
    """Return the row of a general request to a model with tools, which needs none of them."""
    turns = [message for message in dialog if message.role != "system"]
    answer = f"Final Answer: {response}"
    return _general("no_call", "act_system", turns, answer, split, prompts)


def general_no_call_test(query: str, answer: str) -> Example:
    """Return a general request as a test whose right answer is no call."""
    example_id = text_fingerprint("no call", query)
    return Example(
        example_id=example_id,
        group_id=example_id,
        trial_id="",
        tool="",
        query=query,
        origin="general",
        arguments_json="",
        observation="",
        final_answer=answer,
        split="test",
    )


def absent_tool_row(
    query: str, tool: str, split: Literal["train", "validation"], prompts: PromptSet
) -> TrainRow:
    """Return the row of a request for ``tool``, which the model does not have, and says so."""
    return TrainRow(
        row_id=text_fingerprint("absent tool", tool, query),
        example_id="",
        tool=tool,
        kind="no_call",
        split=split,
        dialog_history=toolken_dialog(query, prompts),
        response=f"Final Answer: {prompts.render('no_tool_answer')}",
    )


def _general(
    kind: Literal["general", "no_call"],
    system: str,
    dialog: Sequence[Message],
    response: str,
    split: Literal["train", "validation"],
    prompts: PromptSet,
) -> TrainRow:
    own = (
        []
        if any(message.role == "system" for message in dialog)
        else [prompts.system_message(system)]
    )
    escaped = [
        Message(role=message.role, content=escape_toolkens(message.content)) for message in dialog
    ]
    return TrainRow(
        row_id=text_fingerprint(kind, response, *(message.digest for message in dialog)),
        example_id="",
        tool="",
        kind=kind,
        split=split,
        dialog_history=(*own, *escaped),
        response=escape_toolkens(response),
    )


def _row(
    example: Example,
    kind: RowKind,
    dialog: tuple[Message, ...],
    response: str,
) -> TrainRow:
    assert example.split != "test"
    return TrainRow(
        row_id=f"{example.example_id}-{kind}",
        example_id=example.example_id,
        tool=example.tool,
        kind=kind,
        split=example.split,
        dialog_history=dialog,
        response=response,
    )
