"""Reads the body of a chat request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ste_ray.simulated_provider.bad_requests import BadRequestError
from ste_ray.simulated_provider.native_requests import called_texts, check_calls, read_tools
from ste_ray.simulated_provider.teacher.conversation import text_of

CHARS_PER_TOKEN = 4
_ROLES = ("system", "developer", "user", "assistant", "tool")
_DEFAULT_MAX_TOKENS = 1024  # charged to a token limit where the request names no bound


@dataclass(frozen=True)
class ChatRequest:
    """What a request asks for.

    Attributes:
        key: hash of model, messages, tools and ``max_tokens``: equal for a request that is asked
            again.
        prompt_tokens: estimate, four characters a token.
        tools: the functions that are offered.
        may_call: whether the reply may call them.
    """

    messages: list[dict[str, Any]]
    stop: tuple[str, ...]
    max_tokens: int | None
    seed: int | None
    key: int
    prompt_tokens: int
    tools: tuple[dict[str, Any], ...] = ()
    may_call: bool = False

    @property
    def worst_case_tokens(self) -> int:
        """The tokens a limit is charged before the reply is known."""
        return self.prompt_tokens + (self.max_tokens or _DEFAULT_MAX_TOKENS)


def read_request(raw: bytes) -> ChatRequest:
    """Return the request in a body.

    Raises:
        BadRequestError: the body is no JSON, or asks for what is not supported.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is no valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    if body.get("stream"):
        raise BadRequestError("'stream' is not supported: leave it out or set it to false")
    if body.get("n", 1) not in (None, 1):
        raise BadRequestError(f"'n' is {body['n']!r}; only 1 is supported")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("'messages' must be a list of at least one message")
    texts = [_read_message(index, message) for index, message in enumerate(messages)]
    check_calls(messages)
    tools = read_tools(body.get("tools"))
    offered = json.dumps(tools) if tools else ""
    max_tokens = _read_max_tokens(body)
    return ChatRequest(
        messages=messages,
        stop=_read_stop(body.get("stop")),
        max_tokens=max_tokens,
        seed=_read_seed(body.get("seed")),
        key=_key(f"{body.get('model')}\0{max_tokens}{offered}", messages, texts),
        prompt_tokens=sum(map(num_tokens, (*texts, *called_texts(messages), offered))),
        tools=tools,
        may_call=bool(tools) and body.get("tool_choice") != "none",
    )


def num_tokens(text: str) -> int:
    """Return the approximate number of tokens: four characters each."""
    return -(-len(text) // CHARS_PER_TOKEN)


def _key(identity: str, messages: list[dict[str, Any]], texts: list[str]) -> int:
    """Return the hash of a request; a plain message is told by role and text, others by all."""
    parts = [identity]
    for message, text in zip(messages, texts, strict=True):
        plain = len(message) == 2 and message.get("content") is text
        parts.append(f"{message['role']}\0{text}" if plain else json.dumps(message))
    digest = hashlib.blake2b(digest_size=8)
    digest.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest())


def _read_message(index: int, message: Any) -> str:
    """Return the text of a message."""
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        allowed = ", ".join(_ROLES)
        raise BadRequestError(f"messages[{index}] needs a 'role', one of {allowed}")
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is not None and not isinstance(content, list):
        raise BadRequestError(f"messages[{index}].content must be a text or a list of parts")
    return text_of(message)


def _read_stop(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
        raise BadRequestError(f"'stop' is {stop!r}; give a text or a list of texts")
    return tuple(item for item in stops if item)


def _read_max_tokens(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadRequestError(f"{name!r} is {value!r}; give a whole number from 1")
        return value
    return None


def _read_seed(seed: Any) -> int | None:
    if seed is None or (isinstance(seed, int) and not isinstance(seed, bool)):
        return seed
    raise BadRequestError(f"'seed' is {seed!r}; give a whole number")
