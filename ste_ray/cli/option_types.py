"""What options of several commands are read as."""

from __future__ import annotations

import argparse

_MAX_PORT = 65535


def port_number(text: str) -> int:
    """Return a port that a server may be given; of a larger number sockets take the low bits.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no port; give a number from 0 (any that is free) to {_MAX_PORT}"
        )
    return int(text)


def whole_number(text: str) -> int:
    """Return a number of things, of which there is at least one.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def share(text: str) -> float:
    """Return a share, from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; give a number from 0 to 1")
    return value
