"""Tools that a run must survive."""

from __future__ import annotations

import os
import time


def hang(text: str) -> str:
    time.sleep(60)
    return text


def die(text: str) -> None:
    os._exit(len(text) % 7 + 1)


def flood(text: str) -> str:
    return text * (20 * 2**20 // max(1, len(text)))


def binary(text: str) -> bytes:
    return b"\x00\xff\xfe" + text.encode()


def tell_secret(text: str) -> str:
    return f"{text}: {os.environ['ECHO_KEY']}"
