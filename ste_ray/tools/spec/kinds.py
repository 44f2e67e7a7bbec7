"""The kinds of executors, and the fields that ``ToolSpec.executor`` holds for each.

Text fields of kinds that reach out may refer to a secret as ``${NAME}``; its value is looked up
when the tool is called and never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

HttpMethod = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Headers that decide whom a request reaches or where it ends; no tool may set them.
FORBIDDEN_HEADERS = (
    "connection",
    "content-length",
    "cookie",
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


class ExecutorFields(BaseModel):
    """Base of all kinds: frozen, refusing unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PythonFunction(ExecutorFields):
    """A Python function, called in a killable worker process."""

    kind: Literal["python"]
    target: str  # module:function
    convert: bool = False  # make dates, enums, models of the arguments, as the type hints ask


class HttpRequest(ExecutorFields):
    """A declared request: ``{argument}`` stands for an argument in url, query, headers and body.

    An entry of ``query``, ``headers`` or ``body`` that is nothing but the placeholder of an
    argument that was left out is left out too. Braces are written as ``{{`` and ``}}``.
    """

    kind: Literal["http"]
    method: HttpMethod = "GET"
    url: str
    query: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    body_format: Literal["json", "form", "text"] = "json"
    response_path: str = ""  # JMESPath into the JSON (or XML, as a mapping) of the reply


class OpenApiParameter(ExecutorFields):
    """Where an argument of a tool goes in the request."""

    argument: str  # the name in the tool's own parameters
    name: str  # the name in the request
    place: Literal["path", "query", "header", "cookie"]
    style: str = ""  # OpenAPI's; empty: the default of the place
    explode: bool | None = None  # None: the default of the style
    as_json: bool = False  # the parameter has content application/json instead of a schema
    as_text: bool = False  # it has content of another type, and is one text whatever it is


class OpenApiField(ExecutorFields):
    """How a field of a form is written, where the document says so; see OpenAPI's ``encoding``."""

    style: str = ""  # empty: by the content type
    explode: bool | None = None
    content_type: str = ""  # empty: the default of the value's type


class OpenApiBody(ExecutorFields):
    """How arguments become the body of a request.

    Either one argument is the whole body (``argument``), or each named one is a field of it
    (``fields``: argument -> name in the body).
    """

    content_type: str
    argument: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    encoding: dict[str, OpenApiField] = Field(default_factory=dict)  # name in the body -> how


class OpenApiOperation(ExecutorFields):
    """One operation of a service that an OpenAPI document describes."""

    kind: Literal["openapi"]
    method: HttpMethod
    url: str  # of the server and the path, with {name} for path parameters
    parameters: tuple[OpenApiParameter, ...] = ()
    body: OpenApiBody | None = None
    headers: dict[str, str] = Field(default_factory=dict)  # among them ${NAME} for authentication
    query: dict[str, str] = Field(default_factory=dict)
    cookies: dict[str, str] = Field(default_factory=dict)


class RapidApiEndpoint(ExecutorFields):
    """An endpoint of RapidAPI, called directly."""

    kind: Literal["rapidapi"]
    host: str  # such as weather.p.rapidapi.com
    path: str  # with {argument} for parts of the path
    method: HttpMethod = "GET"
    key: str = "${RAPIDAPI_KEY}"


class ToolbenchEndpoint(ExecutorFields):
    """An endpoint behind a ToolBench or StableToolBench server (``tools.toolbench_url``)."""

    kind: Literal["toolbench"]
    tool_name: str
    api_name: str
    category: str = ""
    key: str = "${TOOLBENCH_KEY}"


class BmtoolsFunction(ExecutorFields):
    """A BMTools function of the published study: described, and only called when simulated."""

    kind: Literal["bmtools"]
    function: str


class McpServer(ExecutorFields):
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


class McpTool(ExecutorFields):
    """A tool of an MCP server."""

    kind: Literal["mcp"]
    tool: str  # the name at the server
    server: McpServer


class SimulatedTool(ExecutorFields):
    """A tool that a language model plays from its documentation."""

    kind: Literal["simulated"]
    of: dict[str, Any] = Field(default_factory=dict)  # the executor that is not called


KINDS: Mapping[str, type[ExecutorFields]] = {
    "python": PythonFunction,
    "mcp": McpTool,
    "openapi": OpenApiOperation,
    "http": HttpRequest,
    "rapidapi": RapidApiEndpoint,
    "toolbench": ToolbenchEndpoint,
    "bmtools": BmtoolsFunction,
    "simulated": SimulatedTool,
}
CALLABLE_KINDS = tuple(kind for kind in KINDS if kind != "bmtools")
