"""Turns the security schemes of a document into named secrets and where they go in a request.

Understood are API keys, HTTP bearer and basic, and tokens of OAuth 2 and OpenID Connect, which
somebody else must obtain: a secret holds the token. For basic authentication the secret holds the
base64 form of ``user:password``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openapi_pydantic.v3 import v3_1

from ste_ray.tools.http.headers import is_header_name, refused_headers
from ste_ray.tools.openapi.document import Document, Part, UnusableError, parsed
from ste_ray.tools.openapi.texts import secret_name, unique

_FIELDS = ("type", "in", "name", "scheme")


@dataclass
class Credentials:
    """Where secrets go in a request, as ``${NAME}``; what they hold, by name."""

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def add(self, other: Credentials) -> None:
        """Add what another scheme needs."""
        for own, new in (
            (self.headers, other.headers),
            (self.query, other.query),
            (self.cookies, other.cookies),
            (self.secrets, other.secrets),
        ):
            own.update(new)

    def holds(self, place: str, name: str) -> bool:
        """Whether a parameter is given by a secret already."""
        if place == "header":
            return name.lower() in (header.lower() for header in self.headers)
        return name in (
            self.query if place == "query" else self.cookies if place == "cookie" else ()
        )


class SecuritySchemes:
    """The schemes of a document that secrets can fulfil.

    Secrets are named after the host that gets them: whatever a document calls itself, it cannot ask
    for what was set for another service.

    Args:
        document: describes the schemes.
        host: of its server.
    """

    def __init__(self, document: Document, host: str) -> None:
        self._default = document.frame.security
        self._schemes: dict[str, Credentials | str] = {}
        taken: set[str] = set()
        for name, part in _described(document):
            secret = unique(secret_name(host, name), taken)
            taken.add(secret)
            try:
                self._schemes[name] = _credentials(_parsed(part), secret)
            except UnusableError as error:
                self._schemes[name] = f"the security scheme {name!r}: {error}"

    def credentials(self, requirements: Sequence[Mapping[str, Any]] | None) -> Credentials:
        """Return what the first alternative needs that secrets can fulfil.

        Args:
            requirements: of the operation; None: those of the document.

        Raises:
            UnusableError: there is none.
        """
        alternatives = self._default if requirements is None else requirements
        if not alternatives:
            return Credentials()
        problem = ""
        for alternative in alternatives:
            together = Credentials()
            for name in alternative:
                found = self._schemes.get(name, f"the security scheme {name!r} is not described")
                if isinstance(found, str):
                    problem = problem or found
                    break
                together.add(found)
            else:
                return together
        raise UnusableError(f"{problem}; only keys, basic, bearer and OAuth tokens can be given")


def _described(document: Document) -> list[tuple[str, Part]]:
    components = document.root.value.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    if not isinstance(schemes, Mapping):
        return []
    return [(name, document.root.sibling(raw)) for name, raw in schemes.items()]


def _parsed(part: Part) -> v3_1.SecurityScheme:
    """Read what tells how a secret is sent; where tokens are got does not matter here."""
    raw = part.resolved().value
    if not isinstance(raw, Mapping):
        raise UnusableError(f"{raw!r:.80} is not an object")
    return parsed(v3_1.SecurityScheme, {key: raw[key] for key in _FIELDS if key in raw})


def _credentials(scheme: v3_1.SecurityScheme, secret: str) -> Credentials | str:
    """Return where the secret goes, or why a scheme is of no use."""
    reference = f"${{{secret}}}"
    kind = scheme.type
    if kind == "apiKey":
        return _key(scheme, secret)
    if kind in ("oauth2", "openIdConnect"):
        return _authorization(f"Bearer {reference}", secret, f"a token of {kind}")
    method = (scheme.scheme or "").lower()
    if kind == "http" and method == "bearer":
        return _authorization(f"Bearer {reference}", secret, "a bearer token")
    if kind == "http" and method == "basic":
        return _authorization(f"Basic {reference}", secret, "base64 of user:password")
    return f"the security scheme of type {kind!r} {method}".rstrip() + " is not supported"


def _authorization(value: str, secret: str, meaning: str) -> Credentials:
    return Credentials(headers={"Authorization": value}, secrets={secret: meaning})


def _key(scheme: v3_1.SecurityScheme, secret: str) -> Credentials | str:
    place, name = scheme.security_scheme_in, scheme.name
    if not name or re.search(r"[\x00-\x20\x7f]|\$\{", name):
        return f"the security scheme names its key {name!r}, which cannot be sent"
    if place == "header" and (not is_header_name(name) or refused_headers([name])):
        return f"the security scheme sends its key as the header {name!r}, which no tool may set"
    entry = {name: f"${{{secret}}}"}
    meaning = {secret: f"the key that is sent as {name!r}"}
    if place == "header":
        return Credentials(headers=entry, secrets=meaning)
    if place == "query":
        return Credentials(query=entry, secrets=meaning)
    if place == "cookie":
        return Credentials(cookies=entry, secrets=meaning)
    return f"the security scheme puts its key into {place!r}"
