"""The error for a request whose body is wrong."""

from __future__ import annotations


class BadRequestError(Exception):
    """The body of a request is wrong; the message says where."""
