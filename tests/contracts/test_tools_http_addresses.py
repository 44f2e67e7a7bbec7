"""Which addresses tools may reach, and that nothing gets around the check."""

import asyncio
import ipaddress
import socket

import pytest

from ste_ray.errors import ConfigError
from ste_ray.tools.http.addresses import (
    BlockedAddressError,
    GuardedResolver,
    check_literal,
    is_allowed,
    is_public,
    resolve_checked,
)
from ste_ray.tools.http.client import HttpClient

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo; the client is 127.0.0.1
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
PUBLIC = [
    "1.1.1.1",
    "64:ff9b::101:101",
    "93.184.216.34",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "::ffff:1.1.1.1",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_are_not_public(text):
    assert not is_public(ipaddress.ip_address(text))
    with pytest.raises(BlockedAddressError, match=r"tools\.allow_hosts"):
        check_literal(f"[{text}]" if ":" in text else text, 80, ())


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_public(text):
    assert is_public(ipaddress.ip_address(text))
    check_literal(text, 80, ())


@pytest.mark.parametrize(
    ("entry", "host", "address", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "my.test", "127.0.0.1", True),
        ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1:8081", "127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1:8080", "127.0.0.2", "127.0.0.2", False),
        ("10.0.0.0/8", "10.9.8.7", "10.9.8.7", True),
        ("10.0.0.0/8", "11.test", "10.9.8.7", True),
        ("10.0.0.0/8", "192.168.0.1", "192.168.0.1", False),
        ("fd00::/8", "[fd00::1]", "fd00::1", True),
        ("[::1]:8080", "::1", "::1", True),
        ("[::1]:1", "::1", "::1", False),
        ("::1", "[::1]", "::1", True),
        (" My.Test ", "my.test.", "10.0.0.1", True),
        ("my.test:8080", "my.test", "10.0.0.1", True),
        ("my.test", "your.test", "10.0.0.1", False),
        ("test", "my.test", "10.0.0.1", False),
        ("bücher.test", "xn--bcher-kva.test", "10.0.0.1", True),
        ("0.0.0.0/0", "::1", "::1", False),
        ("anything", "x.test", "1.1.1.1", True),
    ],
)
def test_what_an_entry_allows(entry, host, address, allowed):
    assert is_allowed(ipaddress.ip_address(address), host, 8080, [entry]) is allowed


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "017700000001",
        "1.2.3.4.5",
        "[::ffff:127.0.0.01]",
        "[v1.fe80::1]",
        "[::1%25lo]",
    ],
)
def test_odd_spellings_are_not_taken_for_names(host):
    with pytest.raises(BlockedAddressError):
        check_literal(host, 80, ())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost"])
def test_this_machine_is_known_by_name(host):
    with pytest.raises(BlockedAddressError, match="is not a public address"):
        check_literal(host, 80, ())
    check_literal("localhost", 80, ["localhost:80"])
    check_literal("localhost", 80, ["127.0.0.0/8"])


def test_names_are_left_to_the_resolver():
    check_literal("example.com", 80, ())
    check_literal("0x7f000001", 80, ())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0x7f000001", "2130706433", "127.1"])
def test_a_host_is_judged_by_where_it_leads(host):
    with pytest.raises(BlockedAddressError, match=r"127\.0\.0\.1|::1"):
        asyncio.run(resolve_checked(host, 80, ()))
    asyncio.run(resolve_checked(host, 80, ["127.0.0.0/8", "::1"]))


def answers(monkeypatch, *addresses):
    """Have every name resolve to ``addresses``; return the names that were asked for."""
    asked = []

    def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
        asked.append(host)
        return [
            (socket.AF_INET6, type, 6, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, type, 6, "", (one, port))
            for one in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_public_ones_is_refused(monkeypatch):
    answers(monkeypatch, "1.1.1.1", "2606:4700:4700::1111", "fe80::1%eth0")
    with pytest.raises(BlockedAddressError, match=r"a\.test \(fe80::1"):
        asyncio.run(resolve_checked("a.test", 443, ()))


def test_the_resolver_gives_addresses_and_no_names(monkeypatch):
    answers(monkeypatch, "1.1.1.1", "1.1.1.1", "2606:4700:4700::1111")
    found = asyncio.run(GuardedResolver(()).resolve("a.test", 443, socket.AF_UNSPEC))
    assert [(one["host"], one["family"], one["port"]) for one in found] == [
        ("1.1.1.1", socket.AF_INET, 443),
        ("2606:4700:4700::1111", socket.AF_INET6, 443),
    ]
    assert all(one["flags"] & socket.AI_NUMERICHOST for one in found)


@pytest.mark.parametrize("entry", ["http://127.0.0.1", "a b", "", "host/path", "10.0.0.0/99"])
def test_entries_that_match_nothing_are_refused(entry):
    with pytest.raises(ConfigError, match=r"tools\.allow_hosts.*can match nothing"):
        HttpClient([entry])
