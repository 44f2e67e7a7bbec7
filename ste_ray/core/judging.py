"""The judge: three questions on a trial, asked as a flow, re-asked once when unparsable."""

from __future__ import annotations

from ste_ray.core.effects import AskModel, Flow, ModelReply, Sampling
from ste_ray.core.parsing import parse_judgment
from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.records import Judgment, Message, ToolSpec, Trial, Turn

_MAX_TOKENS = 240
_ATTEMPTS = 2


def judge_flow(
    trial: Trial, call: Turn, spec: ToolSpec, prompts: PromptSet, temperature: float
) -> Flow[Judgment]:
    """Ask whether the trial's reply is informative, faithful, and used the tool appropriately."""
    prompt = prompts.render(
        "judge",
        tool=describe_tool(spec),
        query=trial.query,
        tool_name=call.tool,
        arguments=call.arguments_json,
        observation=call.observation,
        final_answer=trial.final_answer,
    )
    messages = (Message(role="user", content=prompt),)
    sampling = Sampling(temperature=temperature, max_tokens=_MAX_TOKENS)
    for attempt in range(_ATTEMPTS):
        reply = yield AskModel(role="judge", messages=messages, sampling=sampling)
        assert isinstance(reply, ModelReply)
        informative, faithful, appropriate, reason = parse_judgment(reply.text)
        judgment = Judgment(
            trial_id=trial.trial_id,
            informative=informative,
            faithful=faithful,
            appropriate=appropriate,
            reason=reason,
            reply_text=reply.text,
            model=reply.model,
        )
        if "unparsable" not in (informative, faithful, appropriate) or attempt + 1 == _ATTEMPTS:
            break
    return judgment
