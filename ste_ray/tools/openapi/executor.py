"""Calls operations of services that an OpenAPI document describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ste_ray.core.executor_spec_parts import OpenApiBody
from ste_ray.core.executor_specs import OpenApiOperation
from ste_ray.tools.http.client import HttpCall
from ste_ray.tools.http.executor import RequestExecutor
from ste_ray.tools.http.templates import ArgumentError, encode_body
from ste_ray.tools.openapi.bodies import FORM, MULTIPART, is_json
from ste_ray.tools.openapi.forms import form_body, multipart_body
from ste_ray.tools.openapi.styles import (
    cookie_pairs,
    header_text,
    path_text,
    query_pairs,
    query_text,
)
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets

_SELDOM_WITH_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class OpenApiExecutor(RequestExecutor):
    """Fulfils ``Executor`` for operations of OpenAPI services."""

    def request(self, call: CheckedCall, secrets: Secrets) -> HttpCall:
        """See ``RequestExecutor``."""
        operation = call.spec.executor
        assert isinstance(operation, OpenApiOperation)
        url = _url(operation, call.arguments)
        query = _query(operation, call.arguments)
        query += [(name, secrets.fill(value)) for name, value in operation.query.items()]
        headers = _headers(operation, call.arguments)
        headers |= {name: secrets.fill(value) for name, value in operation.headers.items()}
        cookies = _cookies(operation, call.arguments)
        cookies += [f"{name}={secrets.fill(value)}" for name, value in operation.cookies.items()]
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        body = None
        if operation.body is not None:
            content_type, body = _body(operation.method, operation.body, call.arguments)
            if body is not None:
                headers["Content-Type"] = content_type
        written = _written_query(operation, call.arguments)
        return HttpCall(operation.method, url, query, headers, body, written)


def _url(operation: OpenApiOperation, arguments: Mapping[str, Any]) -> str:
    """Return the address, its path parameters filled in.

    Raises:
        ArgumentError: the arguments would lead to another path.
    """
    texts = {
        parameter.name: path_text(parameter, arguments.get(parameter.argument))
        for parameter in operation.parameters
        if parameter.place == "path"
    }
    url = re.sub(r"\{([^{}]+)\}", lambda match: texts.get(match[1], match[0]), operation.url)
    path = url.partition("://")[2].partition("?")[0]
    if any(segment in (".", "..") for segment in path.split("/")[1:]):
        raise ArgumentError("an argument that is part of the path must not be '.' or '..'")
    return url


def _query(operation: OpenApiOperation, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = [
        pair
        for parameter in operation.parameters
        if parameter.place == "query" and parameter.argument in arguments
        for pair in query_pairs(parameter, arguments[parameter.argument])
    ]
    for name, _ in pairs:
        if name in operation.query:
            raise ArgumentError(f"{name!r} is set by the tool itself and cannot be given")
    return pairs


def _written_query(operation: OpenApiOperation, arguments: Mapping[str, Any]) -> str:
    texts = [
        query_text(parameter, arguments[parameter.argument])
        for parameter in operation.parameters
        if parameter.place == "query" and parameter.argument in arguments
    ]
    return "&".join(filter(None, texts))


def _headers(operation: OpenApiOperation, arguments: Mapping[str, Any]) -> dict[str, str]:
    headers = {}
    for parameter in operation.parameters:
        if parameter.place == "header" and parameter.argument in arguments:
            text = header_text(parameter, arguments[parameter.argument])
            if text is not None:
                headers[parameter.name] = text
    return headers


def _cookies(operation: OpenApiOperation, arguments: Mapping[str, Any]) -> list[str]:
    cookies = [
        cookie
        for parameter in operation.parameters
        if parameter.place == "cookie" and parameter.argument in arguments
        for cookie in cookie_pairs(parameter, arguments[parameter.argument])
    ]
    for cookie in cookies:
        if cookie.partition("=")[0] in operation.cookies:
            raise ArgumentError(f"{cookie.partition('=')[0]!r} is set by the tool itself")
    return cookies


def _body(method: str, body: OpenApiBody, arguments: Mapping[str, Any]) -> tuple[str, bytes | None]:
    """Return the content type and the body; None: there is none."""
    content_type = body.content_type
    if body.argument:
        if body.argument not in arguments:
            return content_type, None
        value = arguments[body.argument]
    else:
        value = {name: arguments[one] for one, name in body.fields.items() if one in arguments}
        if not value and method in _SELDOM_WITH_BODY:
            return content_type, None
    if is_json(content_type):
        return content_type, encode_body(value, "json")
    if content_type == FORM:
        return content_type, form_body(value, body.encoding)
    if content_type == MULTIPART:
        return multipart_body(value, body.encoding)
    charset = "; charset=utf-8" if content_type.startswith("text/") else ""
    return content_type + charset, encode_body(value, "text")
