"""The parts that fields of executors are made of: a server, the places of arguments."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

HttpMethod = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Headers that decide whom a request reaches or where it ends, in lower case; no tool may set them.
FORBIDDEN_HEADERS = (
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


class Fields(BaseModel):
    """Frozen, and refusing unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def in_short(self) -> Self:
        """Return the same as if nothing had been given that is so by default."""
        return type(self).model_validate(self.model_dump(exclude_defaults=True))


class McpServer(Fields):
    """An MCP server: a command to start, or the URL of a running one (streamable HTTP).

    ``${WORKDIR}`` in ``args``, ``env`` and ``cwd`` stands for the working directory of the session.
    """

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str = ""
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    stateful: bool = False  # a process and a fresh working directory for each episode
    template_dir: str = ""  # copied into each fresh working directory
    shielded: bool = True  # may not look into other processes; nor may it use sudo and the like

    @cached_property
    def identity(self) -> str:
        """A text that is equal for equal servers."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    @property
    def where(self) -> str:
        """The URL, or the command as it is started."""
        return self.url or " ".join((self.command, *self.args))


class OpenApiParameter(Fields):
    """Where an argument of a tool goes in the request."""

    argument: str  # the name in the tool's own parameters
    name: str  # the name in the request
    place: Literal["path", "query", "header", "cookie"]
    style: str = ""  # OpenAPI's; empty: the default of the place
    explode: bool | None = None  # None: the default of the style
    as_json: bool = False  # the parameter has content application/json instead of a schema
    as_text: bool = False  # it has content of another type, and is one text whatever it is


class OpenApiField(Fields):
    """How a field of a form is written, where the document says so; see OpenAPI's ``encoding``."""

    style: str = ""  # empty: by the content type
    explode: bool | None = None
    content_type: str = ""  # empty: the default of the value's type


class OpenApiBody(Fields):
    """How arguments become the body of a request.

    Either one argument is the whole body (``argument``), or each named one is a field of it
    (``fields``: argument -> name in the body).
    """

    content_type: str
    argument: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    encoding: dict[str, OpenApiField] = Field(default_factory=dict)  # name in the body -> how
