"""Simulated tools: a model is asked to answer in a tool's place, from its documentation alone.

The prompt holds what is documented and the arguments, as canonical JSON, so that equal calls make
equal requests. By the prompt's convention an answer that is a JSON object with an ``error`` is the
tool's refusal; anything else is its result, word for word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ste_ray.core.effects import AskModel, ModelReply, Sampling, ToolResult
from ste_ray.core.executor_specs import SimulatedTool
from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.records import Message, ObservationStatus, canonical_json
from ste_ray.core.replies.conversation import explained
from ste_ray.core.texts.addresses import shortened_address
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.tool_specs import ToolSpec

MAX_TOKENS = 1024
_FENCED = re.compile(r"```[\w-]*[ \t]*\n(?P<inside>.*?)\n?```", re.DOTALL)
_CUT_OFF_ERROR = re.compile(r'\{\s*"error"\s*:\s*["{]')
_WITHOUT_ANSWER = {
    "failed": "the model gave no reply",
    "content_filter": "the endpoint's content filter held the reply back",
    "refused": "the endpoint refused this request while it served others",
    "context_overflow": "the documentation and the arguments are too long for the model",
}


def ask_simulator(spec: ToolSpec, arguments: Mapping[str, Any], prompts: PromptSet) -> AskModel:
    """Return the request that has a model play ``spec`` for one call."""
    prompt = prompts.render(
        "simulate_tool", tool=describe_service(spec), arguments=canonical_json(arguments)
    )
    return AskModel(
        role="tool_simulator",
        messages=(Message(role="user", content=prompt),),
        sampling=Sampling(temperature=0.0, max_tokens=MAX_TOKENS),
        account=spec.name,
    )


def describe_service(spec: ToolSpec) -> str:
    """What is documented about a tool, with the schema of its results and the request it makes."""
    lines = [describe_tool(spec)]
    if spec.output_schema is not None:
        lines.append(f"Returns: {json.dumps(spec.output_schema, ensure_ascii=False)}")
    played = spec.executor.of if isinstance(spec.executor, SimulatedTool) else {}
    request = _request_of(played)
    if request:
        lines.append(f"Request: {request}")
    return "\n".join(lines)


def read_simulation(reply: ModelReply) -> ToolResult:
    """Return a reply as the simulated tool's result, its text not cut.

    Status ``ok`` or ``error`` as the model answered; ``crashed`` where it did not.
    """
    if reply.finish_reason in _WITHOUT_ANSWER:
        return _crashed(_WITHOUT_ANSWER[reply.finish_reason])
    text = _bare(reply.text)
    if not text:
        reason = explained(reply, MAX_TOKENS, "tool_simulator")
        return _crashed(reason or "the model's reply is empty")
    cut = reply.finish_reason == "length"
    status: ObservationStatus = "error" if _is_error(text, cut) else "ok"
    result = ToolResult(status=status, text=text, source="simulated")
    return cut_result(result, len(text), is_part=cut)


def _crashed(reason: str) -> ToolResult:
    text = f"the tool could not be simulated: {reason}"
    return ToolResult(status="crashed", text=text, source="simulated")


def _bare(text: str) -> str:
    """Take off the code fence that models write although they were told not to."""
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    return fenced["inside"].strip() if fenced else text


def _is_error(text: str, cut: bool) -> bool:
    if not text.startswith("{"):
        return False
    if cut:
        return bool(_CUT_OFF_ERROR.match(text))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    error = value.get("error") if isinstance(value, dict) else None
    # A number may be a result, such as the error of a measurement.
    return error is True or (isinstance(error, str | dict | list) and bool(error))


def _request_of(executor: Mapping[str, Any]) -> str:
    """What is known of the request to the service, without user names, passwords and queries."""
    url = executor.get("url") or f"https://{executor.get('host')}{executor.get('path', '')}"
    if executor.get("url") or executor.get("host"):
        return f"{executor.get('method', 'GET')} {shortened_address(str(url))}"
    parts = [executor.get(key) for key in ("category", "tool_name", "api_name")]
    return " / ".join(str(part) for part in parts if part)
