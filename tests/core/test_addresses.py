"""Addresses that others may read keep neither users nor queries, however badly they are written."""

from __future__ import annotations

import pytest

from ste_ray.core.texts.addresses import shortened_address, without_credentials


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://host:8/v1", "https://host:8/v1"),
        ("https://me:pw@host:8/v1", "https://host:8/v1"),
        ("https://u:p@ssword1@host/v1", "https://host/v1"),
        ("s3://key:se/cret@bucket/run", "s3://bucket/run"),
        ("https://u:p?ss#w@host/v1", "https://host/v1"),
        ("https://token@host", "https://host"),
        ("https://host/v1?api_key=abc&sig=def", "https://host/v1"),
        ("https://host/v1#abc", "https://host/v1"),
        ("https://me:pw@host?mail=a@b", "https://b"),  # rather too much than too little
        ("https://host:8/users/@me?mail=a@b", "https://host:8/users/@me"),
        ("http://[::1]:8/@me", "http://[::1]:8/@me"),
        ("https://host/{a b}?key={a b}&sig=def", "https://host/{a b}"),
        ("s3://bucket/run#1", "s3://bucket/run#1"),
        ("//me:pw@host/path", "//host/path"),
        ("runs/mine?", "runs/mine?"),
    ],
)
def test_an_address_has_neither_user_nor_query(given: str, shown: str) -> None:
    assert shortened_address(given) == shown


def test_addresses_are_found_in_texts() -> None:
    text = "ask https://u:p@ss@one/v1?key=k or s3://k:s/e@two; a//b?c, a // b, 1/2@3"
    assert without_credentials(text) == "ask https://one/v1 or s3://two; a//b?c, a // b, 1/2@3"
