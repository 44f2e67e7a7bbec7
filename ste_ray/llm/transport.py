"""How a request to an endpoint travels, as a Protocol, and the body it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urljoin, urlsplit

from ste_ray.core.effects import AskModel
from ste_ray.core.replies.chat_form import REASONING_FIELD, chat_messages, chat_tool
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.errors import EndpointError
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.responses import Failure

_NAMELESS = "unnamed"
_OF_TOOLS = ("tool_choice", "parallel_tool_calls")
MASK = "***"  # stands where a key was
_REDIRECTS = (301, 302, 303, 307, 308)


class HttpResponse(NamedTuple):
    """What came back: status, headers that ignore case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Carries requests to one endpoint.

    Attributes:
        secrets: what must never be shown.
    """

    secrets: tuple[str, ...]

    async def open(self) -> None:
        """Get ready; raises ConfigError when the key or other settings cannot be used."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...

    def encode(self, body: dict[str, Any]) -> Any:
        """Return what ``post`` takes, once for all repetitions."""
        ...

    async def post(self, payload: Any) -> HttpResponse | Failure:
        """Send a request and return what came, or how it failed."""
        ...


def refuse_redirect(base_url: str, status: int, headers: Mapping[str, str]) -> None:
    """Refuse an answer that sends the request elsewhere: it would take the key along.

    Raises:
        EndpointError: naming the place, without what may be secret in its address.
    """
    if status not in _REDIRECTS:
        return
    target = urlsplit(urljoin(f"{base_url}/", headers.get("location", "")))
    place = f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}"
    raise EndpointError(
        f"the endpoint {base_url!r} redirects to {place[:200]!r}, where requests and their key are "
        "not sent; set llm.base_url (or STE_LLM_BASE_URL) to the address that answers"
    )


def build_body(request: AskModel, endpoint: RoleEndpoint) -> dict[str, Any]:
    """Return the body of a chat completion; the endpoint's sampling fields have the last word."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": _messages(request, endpoint),
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if request.tools:
        body["tools"] = [chat_tool(tool, safe_name(tool.name)) for tool in request.tools]
        if request.tool_choice != "auto":  # the default, which some servers do not know by its name
            body["tool_choice"] = request.tool_choice
    if endpoint.sampling:
        body.update(endpoint.sampling)
        without = () if request.tools else _OF_TOOLS  # refused where there are none
        return {name: one for name, one in body.items() if one is not None and name not in without}
    return body


def _messages(request: AskModel, endpoint: RoleEndpoint) -> list[dict[str, Any]]:
    messages = chat_messages(
        request.messages,
        name_of=_wire_name,
        reasoning_field=endpoint.reasoning_field or REASONING_FIELD,
    )
    for message in messages:
        # As endpoints themselves write it: some refuse an empty text.
        if "tool_calls" in message and not message["content"]:
            message["content"] = None
    return messages


def _wire_name(name: str) -> str:
    """Return the name of a tool, or what a model took for one, in the letters of function names."""
    return safe_name(name or _NAMELESS)
