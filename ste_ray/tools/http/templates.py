"""Fills declared requests with arguments, so that an argument can only ever be a value.

``{argument}`` stands for an argument, ``{{`` and ``}}`` for braces, ``${NAME}`` for a secret.
Arguments are put in as they are and never read as templates again: one that holds ``${NAME}`` or
``{other}`` stays that text.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from ste_ray.core.executor_specs import HttpRequest
from ste_ray.core.schemas.values import described
from ste_ray.core.texts.surrogates import without_halves
from ste_ray.tools.http.client import HttpCall
from ste_ray.tools.http.headers import breaks_header
from ste_ray.tools.run.secrets import Secrets

_TOKEN = re.compile(
    r"(?P<open>\{\{)|(?P<close>\}\})|\$\{(?P<secret>[A-Za-z_][A-Za-z0-9_]*)\}"
    r"|\{(?P<argument>[^{}]+)\}"
)
_EXACT = re.compile(r"\{([^{}]+)\}")
_USER = re.compile(r"//[^/]*@")
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
        if value is not _LEFT_OUT and value is not None:
            headers[name] = header_value(name, as_text(value))
    body = None
    content = _LEFT_OUT if request.body is None else filler.nested(request.body)
    if content is not _LEFT_OUT:
        body = encode_body(content, request.body_format)
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = _CONTENT_TYPES[request.body_format]
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
    if request.body_format == "form" and not _may_be_form(request.body):
        raise ValueError(
            "executor.body must be a mapping of the form's fields, or else set "
            "executor.body_format: json or text"
        )
    place = described(parameters)
    known = place.whatever.names
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
        if name not in place.always.required:
            raise ValueError(
                f"executor.url holds {{{name}}}, which may be left out; list it in "
                "parameters.required, or put it into executor.query"
            )
    _check_response_path(request.response_path)


def check_url(url: str, field: str) -> None:
    """Refuse a URL template whose host could be decided by an argument.

    Raises:
        ValueError: with the remedy.
    """
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    shown = _USER.sub("//", re.split(r"[?#]", url, maxsplit=1)[0])  # without where keys stand
    if not separator or scheme not in ("http", "https") or not authority or " " in authority:
        raise ValueError(f"{field}={shown!r} must be an absolute http or https address")
    if placeholders(authority):
        raise ValueError(f"{field}={shown!r}: an argument must not decide the host; write it out")
    port = authority.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    if port and "${" not in port and not (port.isdecimal() and 0 < int(port) < 65_536):
        raise ValueError(f"{field}={shown!r}: {port!r} is no port; write a number up to 65535")


def _may_be_form(body: Any) -> bool:
    exact = isinstance(body, str) and _EXACT.fullmatch(body)
    return body is None or isinstance(body, Mapping) or bool(exact)


def _check_response_path(path: str) -> None:
    try:
        if path:
            jmespath.compile(path)
    except JMESPathError as error:
        detail = " ".join(str(error).split())
        raise ValueError(
            f"executor.response_path={path!r} is no JMESPath: {detail}; correct it"
        ) from None


def header_value(name: str, text: str) -> str:
    """Return a value for a header.

    Raises:
        ArgumentError: it would break out of the header.
    """
    if breaks_header(text):
        raise ArgumentError(f"the value for the header {name!r} must have no line breaks")
    return text


def as_text(value: Any) -> str:
    """Return a JSON value as it is written in a URL, header or form.

    Numbers are written without exponents. What no encoding has (half a surrogate pair) becomes
    ``?``.
    """
    if isinstance(value, str):
        return without_halves(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        # 0.0 added: there is no negative zero.
        return f"{Decimal(repr(value + 0.0)):f}".removesuffix(".0")
    return without_halves(json.dumps(value, ensure_ascii=False))


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
        before, mark, query = template.partition("?")
        filled = self._text(before, _path_part)
        path = re.sub("^https?://", "", filled)
        if any(part in (".", "..") for part in path.partition("#")[0].split("/")[1:]):
            raise ArgumentError("an argument that is part of the path must not be '.' or '..'")
        return filled + mark + self._text(query, _quoted)

    def _text(self, template: str, write: Callable[[Any], str]) -> str:
        def put(match: re.Match[str]) -> str:
            if match["open"]:
                return "{"
            if match["close"]:
                return "}"
            if match["secret"]:
                secret = self._secrets.get(match["secret"])
                return secret if write is as_text else _quoted(secret)
            return write(self._arguments.get(match["argument"], ""))

        return _TOKEN.sub(put, template)


def _path_part(value: Any) -> str:
    text = _quoted(value)
    if text == "":
        raise ArgumentError("an argument that is part of the path must not be empty")
    return text


def _quoted(value: Any) -> str:
    return urllib.parse.quote(as_text(value), safe="")


def _query_values(value: Any) -> Iterator[str]:
    if value is _LEFT_OUT or value is None:
        return
    # A list within a list is one text, as it could not be told apart otherwise.
    for one in value if isinstance(value, list) else [value]:
        if one is not None:
            yield as_text(one)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
