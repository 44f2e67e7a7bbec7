"""What a tool says of how it is called: the kinds of executors, each with its fields.

``ToolSpec.executor`` is one of these models, chosen by its ``kind``; ``tools/run/opening.py`` says
what calls the tools of each kind. Text fields of kinds that reach out may refer to a secret as
``${NAME}``; its value is looked up when the tool is called and never stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from ste_ray.core.executor_spec_parts import (
    Fields,
    HttpMethod,
    McpServer,
    OpenApiBody,
    OpenApiParameter,
)

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class ExecutorSpec(Fields):
    """Base of all kinds.

    Attributes:
        can_be_called: whether anything calls such tools; others are only described, and may be
            played by a model.
        kind: the word that a kind is chosen by; each gives its own as a literal.
    """

    can_be_called: ClassVar[bool] = True
    kind: str
    _written: dict[str, Any] | None = PrivateAttr(default=None)  # where the model dumps another

    @model_validator(mode="wrap")
    @classmethod
    def _keep_written(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Keep what was written where it is read as something else, such as ``yes`` for true."""
        made = handler(value)
        if isinstance(value, dict):
            written = {"kind": made.kind, **value}
            if _differ(written, made.as_written()):
                made._written = written
        return made

    @property
    def where(self) -> str:
        """Where a call goes, in a few words; secrets as they are named in the file."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """The URL that requests go to, perhaps a template; empty: none, or it is not said here."""
        return ""

    def problem(self) -> str:
        """Say what is wrong although each field is of its type, in one line; empty: nothing."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if field.is_required() and isinstance(value, str) and not value.strip():
                return f"executor.{name}={value!r} must not be empty, for {self.kind!r}"
        return ""

    def as_written(self) -> dict[str, Any]:
        """Return the fields that were given, as JSON: the form that is stored and hashed."""
        return self._written or {
            "kind": self.kind,
            **self.model_dump(mode="json", exclude_unset=True),
        }


def _differ(written: dict[str, Any], read: dict[str, Any]) -> bool:
    try:
        return json.dumps(written, sort_keys=True) != json.dumps(read, sort_keys=True)
    except TypeError:
        return False  # it was not written, but made in a program, of other models


class PythonFunction(ExecutorSpec):
    """A Python function, called in a killable worker process."""

    kind: Literal["python"] = "python"
    target: str  # module:function
    convert: bool = False  # make dates, enums, models of the arguments, as the type hints ask

    @property
    def where(self) -> str:
        """See ``ExecutorSpec``."""
        return self.target

    def problem(self) -> str:
        """See ``ExecutorSpec``."""
        if _TARGET.fullmatch(self.target):
            return ""
        return (
            f"executor.target={self.target!r} is no target; write 'module:function', "
            "e.g. 'my_package.my_module:my_function'"
        )


class McpTool(ExecutorSpec):
    """A tool of an MCP server."""

    kind: Literal["mcp"] = "mcp"
    tool: str  # the name at the server
    server: McpServer

    @property
    def where(self) -> str:
        """See ``ExecutorSpec``."""
        return f"{self.tool} of MCP server {self.server.name} ({self.server.where})"

    @property
    def address(self) -> str:
        """See ``ExecutorSpec``."""
        return self.server.url

    def problem(self) -> str:
        """See ``ExecutorSpec``."""
        if bool(self.server.command) == bool(self.server.url):
            return (
                f"executor.server {self.server.name!r} must have either a command, which starts "
                "it, or a url, where it runs"
            )
        return super().problem()


class _UrlRequest(ExecutorSpec):
    """What the kinds share that say which URL is asked."""

    method: HttpMethod
    url: str

    @property
    def where(self) -> str:
        """See ``ExecutorSpec``."""
        return f"{self.method} {self.url}"

    @property
    def address(self) -> str:
        """See ``ExecutorSpec``."""
        return self.url


class OpenApiOperation(_UrlRequest):
    """One operation of a service that an OpenAPI document describes.

    Its ``url`` is that of the server and the path, with ``{name}`` for path parameters.
    """

    kind: Literal["openapi"] = "openapi"
    parameters: tuple[OpenApiParameter, ...] = ()
    body: OpenApiBody | None = None
    headers: dict[str, str] = Field(default_factory=dict)  # among them ${NAME} for authentication
    query: dict[str, str] = Field(default_factory=dict)
    cookies: dict[str, str] = Field(default_factory=dict)


class HttpRequest(_UrlRequest):
    """A declared request: ``{argument}`` stands for an argument in url, query, headers and body.

    An entry of ``query``, ``headers`` or ``body`` that is nothing but the placeholder of an
    argument that was left out is left out too. Braces are written as ``{{`` and ``}}``.
    """

    kind: Literal["http"] = "http"
    method: HttpMethod = "GET"
    query: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    body_format: Literal["json", "form", "text"] = "json"
    response_path: str = ""  # JMESPath into the JSON (or XML, as a mapping) of the reply


class RapidApiEndpoint(ExecutorSpec):
    """An endpoint of RapidAPI, called directly."""

    kind: Literal["rapidapi"] = "rapidapi"
    host: str  # such as weather.p.rapidapi.com
    path: str  # with {argument} for parts of the path
    method: HttpMethod = "GET"
    key: str = "${RAPIDAPI_KEY}"

    @property
    def where(self) -> str:
        """See ``ExecutorSpec``."""
        return f"{self.method} https://{self.host}{self.path}"

    @property
    def address(self) -> str:
        """See ``ExecutorSpec``."""
        return f"https://{self.host}"


class ToolbenchEndpoint(ExecutorSpec):
    """An endpoint behind a ToolBench or StableToolBench server (``tools.toolbench_url``)."""

    kind: Literal["toolbench"] = "toolbench"
    tool_name: str
    api_name: str
    category: str = ""
    key: str = "${TOOLBENCH_KEY}"

    @property
    def where(self) -> str:
        """See ``ExecutorSpec``."""
        return f"{self.api_name} of {self.tool_name} (tools.toolbench_url)"


class BmtoolsFunction(ExecutorSpec):
    """A BMTools function of the published study."""

    can_be_called: ClassVar[bool] = False
    kind: Literal["bmtools"] = "bmtools"
    function: str

    @property
    def where(self) -> str:
        """See ``ExecutorSpec``."""
        return self.function


class SimulatedTool(ExecutorSpec):
    """A tool that a language model plays from its documentation."""

    kind: Literal["simulated"] = "simulated"
    of: dict[str, Any] = Field(default_factory=dict)  # the executor that is not called

    @property
    def where(self) -> str:
        """See ``ExecutorSpec``."""
        return "a language model"


# Here a new kind is added.
AnyExecutorSpec = (
    PythonFunction
    | McpTool
    | OpenApiOperation
    | HttpRequest
    | RapidApiEndpoint
    | ToolbenchEndpoint
    | BmtoolsFunction
    | SimulatedTool
)
# All kinds there are, in the order in which they are listed for a person.
EXECUTOR_SPECS: Mapping[str, type[AnyExecutorSpec]] = {
    model.model_fields["kind"].default: model for model in get_args(AnyExecutorSpec)
}
CALLABLE_KINDS = tuple(kind for kind, spec in EXECUTOR_SPECS.items() if spec.can_be_called)
ExecutorField = Annotated[AnyExecutorSpec, Field(discriminator="kind")]
