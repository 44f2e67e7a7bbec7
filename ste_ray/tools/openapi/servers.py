"""Which server an operation is sent to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from openapi_pydantic.v3 import v3_1
from pydantic import ValidationError

from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.templates import check_url
from ste_ray.tools.openapi.document import Document, UnusableError, first_problem

_REMEDY = "name the server with --base-url"


class Servers:
    """Finds the server of each operation.

    Args:
        document: names servers, or was read where they are.
        base_url: takes the place of all servers; empty: the document decides.

    Raises:
        ToolSpecError: ``base_url`` is no http or https address.
    """

    def __init__(self, document: Document, base_url: str = "") -> None:
        self._document = document
        self._base_url = base_url
        if base_url:
            try:
                _check(base_url, "--base-url")
            except ValueError as error:
                raise ToolSpecError(f"{error}, such as https://api.example.org/v1") from None

    def address(self, operation: Mapping[str, Any], path_item: Mapping[str, Any]) -> str:
        """Return the absolute address that paths are put after.

        Raises:
            UnusableError: the document names none.
        """
        if self._base_url:
            return self._base_url.rstrip("/")
        # The nearest list of servers counts alone.
        for holder in (operation, path_item, self._document.root.value):
            listed = holder.get("servers")
            if isinstance(listed, list) and listed:
                return self._absolute(_filled(listed[0]))
        return self._absolute("/")

    def host(self) -> str:
        """Return the host of the document as a whole, empty if it names none."""
        try:
            return urlsplit(self.address({}, {})).hostname or ""
        except UnusableError:
            return ""

    def _absolute(self, url: str) -> str:
        try:
            if self._document.url:
                url = urljoin(self._document.url, url)
            _check(url, "the server")
        except ValueError as error:
            raise UnusableError(f"{error}; {_REMEDY}") from None
        return url.rstrip("/")


def _check(url: str, field: str) -> None:
    check_url(url, field)
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = ""
    if not host or re.search(r"[?#{}\s]", url):
        raise ValueError(
            f"{field}={url!r} must be an address with a host, without query, braces and spaces"
        )


def _filled(raw: Any) -> str:
    """Return the address of a server with the defaults of its variables."""
    try:
        server = v3_1.Server.model_validate(raw)
    except ValidationError as error:
        raise UnusableError(f"servers: {first_problem(error)}; {_REMEDY}") from None
    variables = server.variables or {}

    def default(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise UnusableError(
                f"the server {server.url!r} has no default for {match[1]!r}; {_REMEDY}"
            )
        return str(variables[match[1]].default)

    return re.sub(r"\{([^{}]*)\}", default, server.url)
