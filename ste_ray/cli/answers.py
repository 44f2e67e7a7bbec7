"""What ``ste-ray ask`` prints for a person: whose words each line holds can always be told.

A small model may write down wrongly what a tool has answered rightly. So the tool's result stands
on a line of its own, before the model's words.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ste_ray.process.output import Colour, coloured, printable

if TYPE_CHECKING:
    from ste_ray.core.effects import ToolResult
    from ste_ray.stages.ask.exchange import Answer, Proposal

_SHOWN_CHARS = 2000  # of what stands above an answer


def show_request(request: str) -> None:
    """Say which request is answered, where nobody sees it typed."""
    _show("request", "yellow", request)


def show_proposal(proposal: Proposal) -> None:
    """Show the call that is to be made, if there is one."""
    if proposal.call is not None:
        from ste_ray.stages.ask.exchange import call_shown

        _show("call", "yellow", call_shown(proposal.call))


def show_result(result: ToolResult) -> None:
    """Show what a tool has returned, while the model's words are yet to come."""
    from ste_ray.core.texts.cutting import ellipsed

    _show_result(result.status, ellipsed(result.text, _SHOWN_CHARS))


def show_answer(answer: Answer) -> None:
    """Show what became of a call, or why there is none, and the answer.

    A result that is followed by words of the model has been shown.
    """
    from ste_ray.core.inferring.reading import as_text
    from ste_ray.core.texts.cutting import ellipsed

    found, whose = answer.prediction, answer.proposal.answerer
    if answer.answer_from == "tool":
        if answer.words_awaited:
            _show(f"no words of the {whose}", "red", answer.problem)
        elif answer.status == "tool_failed":
            _show_result(found.observation_status, answer.answer)
        else:
            _show("answer, the tool's own result", "green", answer.answer)
    elif answer.answer_from:
        called = "" if found.observation_status != "none" else ", without a tool"
        cut = ", cut off" if answer.cut else ""
        _show(f"answer in the {whose}'s words{called}{cut}", "cyan", answer.answer)
        if answer.problem:
            _show("note", "red", answer.problem)
    elif answer.status in ("malformed", "unknown_tool"):
        cut = ", cut off" if answer.cut else ""
        _show(f"the {whose} wrote{cut}", "yellow", ellipsed(as_text(found), _SHOWN_CHARS))
        _show("no call", "red", answer.problem)
    else:
        _show("no reply" if answer.status == "no_reply" else "not made", "red", answer.problem)


def _show_result(status: str, text: str) -> None:
    if status == "ok":
        _show("tool's result", "green", text)
    else:
        _show(f"tool's result ({status})", "red", text)


def _show(label: str, colour: Colour, text: str) -> None:
    sys.stdout.write(f"{coloured(f'{label}:', colour)} {printable(text.strip())}\n")
    sys.stdout.flush()
