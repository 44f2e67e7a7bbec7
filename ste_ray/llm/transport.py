"""How a request to an endpoint travels, as a Protocol, and the body it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urljoin, urlsplit

from ste_ray.core.effects import AskModel
from ste_ray.errors import EndpointError
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.responses import Failure

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
        "messages": [{"role": one.role, "content": one.content} for one in request.messages],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if endpoint.sampling:
        body.update(endpoint.sampling)
        return {name: value for name, value in body.items() if value is not None}
    return body
