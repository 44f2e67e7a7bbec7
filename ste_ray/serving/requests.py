"""A chat request as a client sends it, checked field by field.

What is not honoured is refused, never passed over: a client that asks for log probabilities or a
second choice would else take their absence for an answer. Fields that change no reply (``user``,
``metadata``) are let through. ``null`` means what leaving a field out means.

What a text cannot hold once it is written again is refused at the door: numbers that are none,
halves of characters, and nesting that would exhaust whoever walks through it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from ste_ray.core.texts.cutting import ellipsed

_SHOWN_CHARS = 120
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_MAX_DEPTH = 100  # of JSON; a few functions call each other at each level, and a thousand may
_TOO_DEEP = f"it is nested more than {_MAX_DEPTH} deep"
_MAX_TOKENS = 2**31 - 1
_MAX_STOPS = 16
_MAX_STOP_CHARS = 1000  # each token of a reply is compared with all of them
_TOKEN_ID = re.compile(r"0|[1-9][0-9]{0,17}")
_SEEDS = Field(default=None, ge=-(2**63), lt=2**63)  # as OpenAI has them


class RequestError(Exception):
    """A request that is refused: what to send instead, for the client.

    Args:
        message: becomes one line, whatever names and texts of the client it quotes.
        param: the field that it is about.
        code: a word for programs.
        status: of HTTP.
    """

    def __init__(
        self, message: str, param: str | None = None, code: str = "invalid_value", status: int = 400
    ) -> None:
        message = " ".join(message.split())
        super().__init__(message)
        self.message, self.param, self.code, self.status = message, param, code, status


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _TextPart(_Part):
    type: Literal["text"]
    text: str


class _CalledFunction(_Part):
    model_config = ConfigDict(extra="ignore")  # clients send back what they were given
    name: str = Field(min_length=1)
    arguments: str = "{}"

    @field_validator("arguments")
    @classmethod
    def _is_object(cls, text: str) -> str:
        try:
            value = _parsed(text or "{}")
        except ValueError as error:
            raise ValueError(f"must be the JSON text of an object ({error})") from None
        if not isinstance(value, dict):
            raise ValueError("must be the JSON text of an object")
        return text or "{}"


class _Call(_Part):
    model_config = ConfigDict(extra="ignore")
    id: str
    type: Literal["function"] = "function"
    function: _CalledFunction


class ChatMessage(BaseModel):
    """A message of the conversation; what else a client sends back of an answer says nothing."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_TextPart] | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """Its content as one text; parts are joined as vLLM and the chat templates join them."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class _Function(_Part):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Part):
    """A tool that is offered."""

    type: Literal["function"]
    function: _Function


class _Named(_Part):
    name: str


class NamedTool(_Part):
    """The tool that must be called."""

    type: Literal["function"]
    function: _Named


def _only(value: Any) -> AfterValidator:
    """Allow one value alone. ``Literal`` takes 0 for ``False`` and ``True`` for 1."""

    def check(given: Any) -> Any:
        if given != value:
            raise ValueError(f"can be nothing but {json.dumps(value)} here")
        return given

    return AfterValidator(check)


_False = Annotated[bool, _only(False)]
_One = Annotated[int, _only(1)]


class _StreamOptions(_Part):
    include_usage: bool | None = None
    include_obfuscation: _False | None = None


class _TextFormat(_Part):
    type: Literal["text"]


def _token_id(text: str) -> str:
    # Written in two ways, a token would be weighed twice.
    if not _TOKEN_ID.fullmatch(text):
        raise ValueError("must be the id of a token, in digits without a zero before them")
    return text


_TokenId = Annotated[str, AfterValidator(_token_id)]
_Stop = Annotated[str, Field(max_length=_MAX_STOP_CHARS)]


class ChatRequest(BaseModel):
    """A request for a reply; fields as OpenAI names them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=_MAX_TOKENS)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=_MAX_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[_TokenId, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: int | None = _SEEDS
    stop: _Stop | Annotated[list[_Stop], Field(max_length=_MAX_STOPS)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    # What has one value here.
    n: _One | None = None
    logprobs: _False | None = None
    response_format: _TextFormat | None = None
    store: _False | None = None
    service_tier: Literal["auto", "default"] | None = None
    # What changes no reply.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def max_new_tokens(self) -> int | None:
        """The most tokens of the reply that the client wants; None: it did not say."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def biases(self) -> dict[int, float]:
        """What is added to the logits of tokens, by their ids."""
        return {int(token): bias for token, bias in (self.logit_bias or {}).items()}

    @property
    def stops(self) -> list[str]:
        """The texts that end the reply."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [one for one in given if one]

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools, as chat templates take them; none where none may be called."""
        if self.tool_choice == "none":
            return []
        return [
            {
                "type": "function",
                "function": {
                    "name": one.function.name,
                    "description": one.function.description or "",
                    "parameters": one.function.parameters or {"type": "object", "properties": {}},
                },
            }
            for one in self.tools or ()
        ]

    @property
    def forced(self) -> list[str]:
        """Names of the tools of which one must be called; empty: none must."""
        if isinstance(self.tool_choice, NamedTool):
            return [self.tool_choice.function.name]
        if self.tool_choice == "required":
            return [one.function.name for one in self.tools or ()]
        return []


def read_request(body: bytes, known: Collection[str] = ()) -> ChatRequest:
    """Return the request in the body of one.

    Args:
        body: as it was sent.
        known: names of tools that may be offered although other APIs would not take them.

    Raises:
        RequestError: it is no JSON, or a field cannot be honoured.
    """
    try:
        given = _parsed(body)
    except ValueError as error:
        raise RequestError(f"the body cannot be read ({error}); send a JSON object") from None
    if not isinstance(given, dict):
        raise RequestError(f"the body is {_shown(given)}; send a JSON object")
    # Left out and null are the same.
    given = {name: value for name, value in given.items() if value is not None}
    try:
        request = ChatRequest.model_validate(given)
    except ValidationError as error:
        raise _told(error) from None
    _check_tools(request, known)
    return request


def _parsed(text: str | bytes) -> Any:
    """Return JSON that can be walked through, and written again as text.

    Raises:
        ValueError: it is none.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _is_deeper(value, _MAX_DEPTH):
        raise ValueError(_TOO_DEEP)
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise ValueError(f"{half} is half of a character; send both or neither") from None
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _check_tools(request: ChatRequest, known: Collection[str]) -> None:
    names = [one.function.name for one in request.tools or ()]
    for at, name in enumerate(names):
        if name not in known and not _NAME.fullmatch(name):
            param = f"tools.{at}.function.name"
            raise RequestError(
                f"{param}={_shown(name)}: give 1 to 128 letters, digits, _, . and -; only tools"
                " that the model has learned may have other names",
                param,
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"tools: {twice!r} is offered twice; offer each tool once", "tools")
    if request.forced or request.tool_choice == "required":
        unknown = [name for name in request.forced if name not in names]
        if not names or unknown:
            wanted = unknown[0] if unknown else "required"
            raise RequestError(
                f"tool_choice: {wanted!r} needs a tool of 'tools', which has"
                f" {', '.join(map(repr, names)) or 'none'}",
                "tool_choice",
            )


def _told(error: ValidationError) -> RequestError:
    """Return the first of several mistakes as one line."""
    # Of alternatives pydantic tells the mistakes of each. The deepest is in the one that was meant,
    # and of those one that is not of another kind of value.
    first = max(
        error.errors(include_url=False),
        key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")),
    )
    param = ".".join(str(part) for part in first["loc"] if not _is_alternative(part))
    if first["type"] == "extra_forbidden":
        return RequestError(
            f"{param!r} is not supported here; leave it out", param, "unsupported_parameter"
        )
    if first["type"] == "missing":
        return RequestError(f"{param!r} is missing", param, "missing_required_parameter")
    reason = first["msg"].removeprefix("Value error, ")
    return RequestError(f"{param}={_shown(first['input'])}: {reason}", param)


def _is_alternative(part: Any) -> bool:
    return isinstance(part, str) and (part[:1] in "_(" or "[" in part or part in _CLASSES)


_CLASSES = frozenset({"str", "constrained-str", "NamedTool", "function-after"})


def _shown(value: Any) -> str:
    return ellipsed(repr(dict(value) if isinstance(value, Mapping) else value), _SHOWN_CHARS)
