"""Finds secrets that are written out in the definition of an MCP server; references replace them.

Names decide (``API_KEY``, ``--token``, ``Authorization``), and so does what looks like a key.
Passwords and keys within addresses, headers and assignments among the arguments are found too.
"""

from __future__ import annotations

import math
import re
import urllib.parse
from collections import Counter

from ste_ray.core.executor_spec_parts import McpServer

_SECRET_WORDS = re.compile(
    r"key|token(?!iz)|secret|passw|auth|credential|cookie|session|pat$|dsn|conn", re.IGNORECASE
)
_COUNTS = re.compile(r"tokens|keys|sessions|connections|timeout", re.IGNORECASE)
_NO_SECRET = re.compile(r"true|false|yes|no|on|off|none|null", re.IGNORECASE)
_SCHEMES = re.compile(r"^(Bearer|Basic|Token)\s+(.+)$", re.IGNORECASE)
_NAMED = re.compile(r"^([A-Za-z_][\w.-]*(?:=|:(?!//)\s*))(.+)$", re.DOTALL)
_MIN_RANDOM_CHARS = 20
_MIN_BITS_PER_CHAR = 3.4  # random letters and digits have more, words and paths less


class LiteralSecrets:
    """Takes the secrets out of the definitions in one file.

    Attributes:
        replaced: what looked like a secret, as ``server: where -> ${NAME}``.
    """

    def __init__(self) -> None:
        self.replaced: list[str] = []
        self._values: dict[str, str] = {}  # of the variables that have been given out

    def without(self, server: McpServer) -> McpServer:
        """Return ``server`` with references in place of its secrets."""
        name = server.name
        env = {key: self._named(name, "env", key, value) for key, value in server.env.items()}
        headers = {
            key: self._named(name, "header", key, value) for key, value in server.headers.items()
        }
        arguments = tuple(self._arguments(name, server.args))
        url = self._url(name, "url", server.url) if server.url else ""
        return server.model_copy(
            update={"env": env, "headers": headers, "args": arguments, "url": url}
        )

    def _arguments(self, server: str, arguments: tuple[str, ...]) -> list[str]:
        """Replace the values of options such as ``--token VALUE`` and ``--api-key=VALUE``."""
        result: list[str] = []
        option = ""
        for argument in arguments:
            name, separator, value = argument.partition("=")
            if not argument.startswith("-"):
                result.append(self._named(server, "argument", option, argument))
                option = ""
            elif separator:
                result.append(f"{name}={self._named(server, 'argument', name, value)}")
                option = ""
            else:
                result.append(argument)
                option = argument
        return result

    def _named(self, server: str, place: str, name: str, value: str) -> str:
        """Return a value without secrets, knowing what it is called."""
        scheme = _SCHEMES.match(value)
        start, rest = (f"{scheme[1]} ", scheme[2]) if scheme else ("", value)
        if _is_secret(name, rest):
            return f"{start}{self._reference(server, place, name or 'argument', rest)}"
        if (part := _NAMED.match(value)) and not scheme:
            return part[1] + self._named(server, place, part[1].rstrip("=: "), part[2])
        where = f"{place} {name}" if place == "env" else place
        return self._url(server, where, value) if "://" in value else value

    def _url(self, server: str, place: str, url: str) -> str:
        """Return an address without password and keys, and otherwise as it was."""
        head, mark, tail = url.partition("?")
        query, hash_mark, fragment = tail.partition("#")
        netloc = urllib.parse.urlsplit(head).netloc
        user, at, host = netloc.rpartition("@")
        login, colon, password = user.partition(":")
        if password and "${" not in password:
            reference = self._reference(server, place, "password", password)
            head = head.replace(netloc, f"{login}{colon}{reference}{at}{host}", 1)
        pairs = []
        for pair in query.split("&"):
            name, equals, value = pair.partition("=")
            plain = urllib.parse.unquote_plus(value)
            if _is_secret(urllib.parse.unquote_plus(name), plain):
                value = self._reference(server, place, name, plain)
            pairs.append(f"{name}{equals}{value}")
        return f"{head}{mark}{'&'.join(pairs)}{hash_mark}{fragment}"

    def _reference(self, server: str, place: str, name: str, value: str) -> str:
        name = name.lstrip("-")
        alone = variable_name(name)
        own = variable_name(f"{server}_{name}")
        variable = alone if place == "env" and self._values.get(alone, value) == value else own
        number = 1
        while self._values.setdefault(variable, value) != value:  # two secrets, one name
            number += 1
            variable = f"{own}_{number}"
        self.replaced.append(f"{server}: {place} {name} -> ${{{variable}}}")
        return f"${{{variable}}}"


def variable_name(name: str) -> str:
    """Return ``name`` as that of a variable in the environment."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").upper() or "SECRET"


def _is_secret(name: str, value: str) -> bool:
    if not value or "${" in value or _NO_SECRET.fullmatch(value):
        return False
    if value.isdecimal() and _COUNTS.search(name):
        return False
    return bool(_SECRET_WORDS.search(name)) or _looks_random(value)


def _looks_random(text: str) -> bool:
    """Whether a text is more like a key than like a word, a path or an address."""
    if len(text) < _MIN_RANDOM_CHARS or re.search(r"[\s/\\:.@=]", text):
        return False
    counts = Counter(text)
    bits = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return bits >= _MIN_BITS_PER_CHAR and bool(re.search(r"\d", text))
