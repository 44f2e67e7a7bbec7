"""Which network addresses tools may reach: public ones, and the private ones that were allowed.

A name is judged by the addresses it resolves to, at the moment of the connection: the connection
then goes to the address that was judged. Nothing is resolved twice.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Called global by the standard library or by their owners, and yet answered by the surroundings of
# the machine: addresses of protocols, and the host service of a large cloud.
_NOT_PUBLIC = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("168.63.129.16/32"))


class BlockedAddressError(Exception):
    """A tool would reach an address that is not public and was not allowed."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, looked at through embeddings in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return is_public(embedded)
        if address.is_site_local:
            return False
    elif any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def is_allowed(address: Address, host: str, port: int, allow_hosts: Collection[str]) -> bool:
    """Whether a connection may be made.

    Args:
        address: where it would go.
        host: the name or literal address that was asked for.
        port: likewise.
        allow_hosts: hosts, ``host:port`` or networks that may be reached although they are private.
    """
    if is_public(address):
        return True
    host = _plain(host)
    for entry in allow_hosts:
        entry = _ascii(entry.strip().lower())
        if entry in (host, f"{host}:{port}", f"[{host}]:{port}", f"[{host}]"):
            return True
        network = _network(entry)
        if network is not None and address.version == network.version and address in network:
            return True
    return False


def refusal(host: str, port: int, address: Address) -> BlockedAddressError:
    """Return the error that names the host and the remedy."""
    shown = host if host.strip("[]") == str(address) else f"{host} ({address})"
    written = f"[{host.strip('[]')}]" if ":" in host else host
    return BlockedAddressError(
        f"{shown} is not a public address; tools may not reach it unless tools.allow_hosts names "
        f"it, e.g. {written}:{port}"
    )


def check_literal(host: str, port: int, allow_hosts: Collection[str]) -> None:
    """Check what can be said of a host without resolving it; the rest is left to the resolver.

    Raises:
        BlockedAddressError: it is written as an address, or names this machine, and may not be
            reached; or it is written in a way that some read as an address and some as a name.
    """
    name = _plain(host)
    if name == "localhost" or name.endswith(".localhost"):
        address: Address | None = ipaddress.ip_address("127.0.0.1")
    else:
        address = _literal(name)
    if address is None:
        # aiohttp takes these for addresses: they would be looked up after all checks.
        if ":" in name or name.replace(".", "").isdigit():
            raise BlockedAddressError(
                f"{host!r} is no host; write an address as four numbers, such as 192.0.2.1, or "
                "as one of IPv6"
            )
    elif not is_allowed(address, host, port, allow_hosts):
        raise refusal(host, port, address)


async def resolve_checked(
    host: str,
    port: int,
    allow_hosts: Collection[str],
    family: socket.AddressFamily = socket.AF_UNSPEC,
) -> list[tuple[socket.AddressFamily, str]]:
    """Return the families and addresses of a host, all of which may be reached.

    Raises:
        BlockedAddressError: one of them may not: who mixes public and private addresses under a
            name is not to be trusted with either.
        OSError: the host cannot be resolved.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    result: dict[tuple[socket.AddressFamily, str], None] = {}
    for found_family, _, _, _, place in found:
        text = str(place[0])
        address = ipaddress.ip_address(text.split("%")[0])
        if not is_allowed(address, host, port, allow_hosts):
            raise refusal(host, port, address)
        result[(socket.AddressFamily(found_family), text)] = None
    return list(result)


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp, refusing those that lead to addresses that may not be reached."""

    def __init__(self, allow_hosts: Collection[str]) -> None:
        self._allow_hosts = tuple(allow_hosts)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See ``AbstractResolver``."""
        places = await resolve_checked(host, port, self._allow_hosts, family)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=found_family,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, address in places
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing open."""


def _plain(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _ascii(name: str) -> str:
    """A name as it goes over the wire: requests know no other form."""
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None


def wrong_entries(allow_hosts: Sequence[str]) -> list[str]:
    """Return entries that can match nothing, because they hold a scheme, a path or a space."""
    return [
        entry
        for entry in allow_hosts
        if not entry.strip() or "://" in entry or " " in entry or _has_path(entry)
    ]


def _has_path(entry: str) -> bool:
    return "/" in entry and _network(entry) is None
