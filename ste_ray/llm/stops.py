"""The errors that end a run: what every request to an endpoint would meet, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ste_ray.errors import EndpointError, EndpointRefusalError
from ste_ray.llm.endpoint import RoleEndpoint, refused_key
from ste_ray.llm.refusals import Refused, named_field

# What a request's body holds besides its sampling.
_NOT_SAMPLING = ("messages", "model", "tools")
_OF_TOOLS = re.compile(r"\b(tools?|tool_\w+|functions?)\b")


def stop_error(
    endpoint: RoleEndpoint, refused: Refused, message: str, body: Mapping[str, Any]
) -> EndpointError:
    """Return the error for a refusal that every request meets.

    Args:
        endpoint: who refuses.
        refused: the refusal.
        message: what it says, without the key.
        body: of the request; its fields may be what is refused.
    """
    where, status = repr(endpoint.base_url), refused.status
    sampling = {name: value for name, value in body.items() if name not in _NOT_SAMPLING}
    named = named_field(refused, sampling)
    if refused.run_cause == "key":
        text = refused_key(endpoint, status)
        if status in (401, 403) and not message:
            return EndpointError(text)
        return EndpointError(f"{text} (it says {message!r})")
    if refused.run_cause == "quota":
        return EndpointError(
            f"the quota at the endpoint {where} is used up ({status}): {message!r}; raise it "
            "there, or use another key or endpoint"
        )
    if refused.run_cause == "model":
        return EndpointError(
            f"the endpoint {where} refuses the request ({status}): {message!r}; check llm.model "
            f"(it was asked for {endpoint.model!r}) and the endpoint"
        )
    if "tools" in body and not named and _OF_TOOLS.search(message.lower()):
        return EndpointRefusalError(
            f"the endpoint {where} refuses the request ({status}): {message!r}; it refuses a "
            f"minimal request with tools too, so it seems that {endpoint.model!r} cannot call "
            "tools there: use another model, start the server with its parser of tool calls, or "
            "have calls written as text (explore.protocol=text)"
        )
    if named:
        return EndpointRefusalError(
            f"the endpoint {where} refuses the request ({status}): {message!r}; it refuses a "
            f"minimal request too, so it seems to be the field {named!r} with the value "
            f"{sampling[named]!r}: change it where it is configured, or in llm.sampling, where "
            f"null takes it out (llm.sampling={{{named}: null}})"
        )
    return EndpointRefusalError(
        f"the endpoint {where} refuses the request ({status}): {message!r}; it refuses a minimal "
        "request too: check llm.model, llm.sampling and the endpoint"
    )
