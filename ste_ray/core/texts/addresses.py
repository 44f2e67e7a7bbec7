"""Shortens addresses in texts that others may read: no user, password, query or fragment is left.

Where an address is not well formed (a password with ``/``, ``@`` or ``?`` in it), rather more of it
is cut off. Secrets elsewhere in it, such as in its path, are for ``core.texts.masking``.
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^\s/][^\s]*")
# A name or an IPv6 address, with a port: an "@" further on is no end of a user's name then.
_HOST = re.compile(r"(?:[^\s/?#@:]+|\[[^\s/?#@\]]*\])(?::[0-9]{1,5})?(?=[/?#]|$)")
_KEYS_HOLD_ANYTHING = ("s3:", "gs:")  # a "#" too, which begins nothing


def without_credentials(text: str) -> str:
    """Return a text in which each address is shortened; it ends at white space."""
    return _ADDRESS.sub(lambda match: shortened_address(match[0]), text)


def shortened_address(address: str) -> str:
    """Return a whole address without user, password, query and fragment.

    What has no scheme (``//user@host/path``) may be a path, whose ``?`` and ``#`` stay; what has no
    host either stays as it is.
    """
    scheme, slashes, rest = address.partition("//")
    if not slashes:
        return address
    if not _HOST.match(rest):
        rest = rest.rpartition("@")[2]
    if scheme:
        ends = r"\?" if scheme.lower() in _KEYS_HOLD_ANYTHING else r"[?#]"
        rest = re.split(ends, rest, maxsplit=1)[0]
    return f"{scheme}//{rest}"
