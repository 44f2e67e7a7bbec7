"""The judge: three questions on a trial, asked as a flow, re-asked once when unparsable."""

from __future__ import annotations

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.records import Judgment, Message, Trial, Turn
from ste_ray.core.replies.conversation import advice_on, assistant_message, explained, failure_of
from ste_ray.core.replies.verdicts import QUESTIONS, JudgedQuestion, parse_judgment
from ste_ray.core.tool_specs import ToolSpec

_MAX_TOKENS = 240
_ATTEMPTS = 2


def judge_flow(
    trial: Trial, call: Turn, spec: ToolSpec, prompts: PromptSet, temperature: float
) -> Flow[Judgment]:
    """Ask whether the trial's reply is informative, faithful, and used the tool appropriately.

    A reply that cannot be read is answered with what was wrong with it, once: the same question
    again would get the same reply at temperature 0.
    """
    prompt = prompts.render(
        "judge",
        tool=describe_tool(spec),
        query=trial.query,
        tool_name=call.tool,
        arguments=call.arguments_json,
        observation=call.observation,
        final_answer=trial.final_answer,
    )
    messages = [Message(role="user", content=prompt)]
    sampling = Sampling(temperature=temperature, max_tokens=_MAX_TOKENS)
    reasoning_tokens = 0
    for attempt in range(1, _ATTEMPTS + 1):
        reply = yield AskModel(role="judge", messages=tuple(messages), sampling=sampling)
        assert isinstance(reply, ModelReply)
        judged = _judged(reply)
        reasoning_tokens += reply.reasoning_tokens
        judgment = _judgment(trial, reply, judged, attempt, reasoning_tokens)
        problem = unparsable_questions(judgment)
        if not problem or attempt == _ATTEMPTS or reply.finish_reason not in ("stop", "length"):
            break
        if advice_on(reply, "judge"):
            problem = failure_of(reply, _MAX_TOKENS)  # the advice is not for the model
        again = prompts.render("judge_again", problem=problem)
        messages += [assistant_message(reply.text), Message(role="user", content=again)]
    return judgment


def failed_questions(judgment: Judgment) -> str:
    """Return why a judgment does not let its trial pass."""
    if unparsable := unparsable_questions(judgment):
        return f"unparsable verdict ({unparsable})"
    return ", ".join(
        f"not {question}" for question in QUESTIONS if getattr(judgment, question) == "no"
    )


def unparsable_questions(judgment: Judgment) -> str:
    """Return which verdicts could not be read, and why; empty: none."""
    return "; ".join(
        f"{question}: {getattr(judgment, f'{question}_reason')}"
        for question in QUESTIONS
        if getattr(judgment, question) == "unparsable"
    )


def _judged(reply: ModelReply) -> dict[str, JudgedQuestion]:
    """Read a reply; where it failed, that is the reason why a verdict is not there."""
    judged = parse_judgment(reply.text)
    failure = explained(reply, _MAX_TOKENS, "judge")
    if failure:
        return {
            question: JudgedQuestion("unparsable", failure)
            if answer.verdict == "unparsable"
            else answer
            for question, answer in judged.items()
        }
    return judged


def _judgment(
    trial: Trial,
    reply: ModelReply,
    judged: dict[str, JudgedQuestion],
    num_replies: int,
    reasoning_tokens: int,
) -> Judgment:
    informative, faithful, appropriate = (judged[question] for question in QUESTIONS)
    return Judgment(
        trial_id=trial.trial_id,
        informative=informative.verdict,
        faithful=faithful.verdict,
        appropriate=appropriate.verdict,
        informative_reason=informative.reason,
        faithful_reason=faithful.reason,
        appropriate_reason=appropriate.reason,
        num_replies=num_replies,
        reply_text=reply.text,
        model=reply.model,
        reasoning=reply.reasoning,
        reasoning_tokens=reasoning_tokens,
    )
