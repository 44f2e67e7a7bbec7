"""Fills declared requests with arguments, so that an argument can only ever be a value.

``{argument}`` stands for an argument, ``{{`` and ``}}`` for braces, ``${NAME}`` for a secret.
Arguments are put in as they are and never read as templates again: one that holds ``${NAME}`` or
``{other}`` stays that text.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from ste_ray.tools.http.client import HttpCall
from ste_ray.tools.kinds import HttpRequest
from ste_ray.tools.secrets import Secrets

_TOKEN = re.compile(
    r"(?P<open>\{\{)|(?P<close>\}\})|\$\{(?P<secret>[A-Za-z_][A-Za-z0-9_]*)\}"
    r"|\{(?P<argument>[^{}]+)\}"
)
_EXACT = re.compile(r"\{([^{}]+)\}")
_LEFT_OUT = object()
_CONTENT_TYPES = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
}


class ArgumentError(Exception):
    """An argument cannot stand where the request wants it; the message is for the model."""


def fill_request(request: HttpRequest, arguments: Mapping[str, Any], secrets: Secrets) -> HttpCall:
    """Return the request with its arguments and secrets.

    Raises:
        ArgumentError: an argument cannot stand in its place.
        ToolSpecError: a secret is not set.
    """
    filler = _Filler(arguments, secrets)
    headers = {}
    for name, template in request.headers.items():
        value = filler.entry(template)
        if value is not _LEFT_OUT:
            headers[name] = header_value(name, as_text(value))
    body = None
    if request.body is not None:
        headers.setdefault("Content-Type", _CONTENT_TYPES[request.body_format])
        body = encode_body(filler.nested(request.body), request.body_format)
    query = [
        (name, text)
        for name, template in request.query.items()
        for text in _query_values(filler.nested(template))
    ]
    return HttpCall(request.method, filler.url(request.url), query, headers, body)


def fill_path(template: str, arguments: Mapping[str, Any], secrets: Secrets) -> str:
    """Return a URL or path with its arguments percent-encoded; see ``fill_request``."""
    return _Filler(arguments, secrets).url(template)


def placeholders(value: Any) -> set[str]:
    """Return the names of the arguments that the templates within a JSON value stand for."""
    return {
        match["argument"]
        for text in _texts(value)
        for match in _TOKEN.finditer(text)
        if match["argument"]
    }


def check_request(request: HttpRequest, parameters: Mapping[str, Any]) -> None:
    """Refuse a declared request that cannot be sent, whatever the arguments.

    Raises:
        ValueError: with field and remedy in one line.
    """
    check_url(request.url, "executor.url")
    known = parameters.get("properties", {})
    fields = {
        "url": request.url,
        "query": request.query,
        "headers": request.headers,
        "body": request.body,
    }
    for field, value in fields.items():
        for name in sorted(placeholders(value)):
            if name not in known:
                raise ValueError(
                    f"executor.{field} holds {{{name}}}, which parameters.properties lacks; "
                    f"describe it there, or write {{{{{name}}}}} for braces"
                )
    for name in sorted(placeholders(request.url)):
        if name not in parameters.get("required", ()):
            raise ValueError(
                f"executor.url holds {{{name}}}, which may be left out; list it in "
                "parameters.required, or put it into executor.query"
            )
    if request.response_path:
        try:
            jmespath.compile(request.response_path)
        except JMESPathError as error:
            detail = " ".join(str(error).split())
            raise ValueError(
                f"executor.response_path={request.response_path!r} is no JMESPath: {detail}"
            ) from None


def check_url(url: str, field: str) -> None:
    """Refuse a URL template whose host could be decided by an argument.

    Raises:
        ValueError: with the remedy.
    """
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not separator or scheme not in ("http", "https") or not authority or " " in authority:
        raise ValueError(f"{field}={url!r} must be an absolute http or https address")
    if placeholders(authority):
        raise ValueError(f"{field}={url!r}: an argument must not decide the host; write it out")


def header_value(name: str, text: str) -> str:
    """Return a value for a header.

    Raises:
        ArgumentError: it would break out of the header.
    """
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        raise ArgumentError(f"the value for the header {name!r} must have no line breaks")
    return text


def as_text(value: Any) -> str:
    """Return a JSON value as it is written in a URL, header or form."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def encode_body(value: Any, body_format: str) -> bytes:
    """Return a body as it goes over the wire."""
    if body_format == "json":
        return json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace")
    if body_format == "form":
        if not isinstance(value, Mapping):
            raise ArgumentError("the body of a form must be an object")
        pairs = [(name, text) for name, one in value.items() for text in _query_values(one)]
        return urllib.parse.urlencode(pairs, errors="replace").encode()
    return as_text(value).encode("utf-8", errors="replace")


class _Filler:
    def __init__(self, arguments: Mapping[str, Any], secrets: Secrets) -> None:
        self._arguments = arguments
        self._secrets = secrets

    def entry(self, template: str) -> Any:
        """Fill a template; one that is nothing but a placeholder keeps the argument's type."""
        exact = _EXACT.fullmatch(template)
        if exact and exact[1] in self._arguments:
            return self._arguments[exact[1]]
        if exact:
            return _LEFT_OUT
        return self._text(template, as_text)

    def nested(self, value: Any) -> Any:
        """Fill all templates within a JSON value; entries of left-out arguments are left out."""
        if isinstance(value, str):
            return self.entry(value)
        if isinstance(value, Mapping):
            filled = {name: self.nested(one) for name, one in value.items()}
            return {name: one for name, one in filled.items() if one is not _LEFT_OUT}
        if isinstance(value, list):
            return [one for one in map(self.nested, value) if one is not _LEFT_OUT]
        return value

    def url(self, template: str) -> str:
        filled = self._text(template, _quoted)
        path = filled.partition("://")[2].partition("?")[0]
        if any(part in (".", "..") for part in path.split("/")[1:]):
            raise ArgumentError("an argument that is part of the path must not be '.' or '..'")
        return filled

    def _text(self, template: str, write: Any) -> str:
        def put(match: re.Match[str]) -> str:
            if match["open"]:
                return "{"
            if match["close"]:
                return "}"
            if match["secret"]:
                secret = self._secrets.get(match["secret"])
                return _quoted(secret) if write is _quoted else secret
            return str(write(self._arguments.get(match["argument"], "")))

        return _TOKEN.sub(put, template)


def _quoted(value: Any) -> str:
    text = as_text(value)
    if text == "":
        raise ArgumentError("an argument that is part of the path must not be empty")
    return urllib.parse.quote(text, safe="", errors="replace")


def _query_values(value: Any) -> Iterator[str]:
    if value is _LEFT_OUT or value is None:
        return
    if isinstance(value, list):
        for one in value:
            yield from _query_values(one)
    else:
        yield as_text(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
