"""Tools that a run must survive."""

from __future__ import annotations

import os
import time
from pathlib import Path


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


def timed(text: str) -> str:
    """Take a moment, and append when it began and ended to the file ``text``."""
    begun = time.time()
    time.sleep(0.05)
    with open(text, "a") as file:
        file.write(f"[{os.getpid()}, {begun!r}, {time.time()!r}]\n")
    return "done"


def read_environments(text: str) -> str:
    """Return the environments of all other processes that show theirs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / "environ").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return f"{text}: " + "\n".join(found)
