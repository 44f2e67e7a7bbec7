"""A module whose public functions are all tools."""

from json import dumps  # an import is no function of this module


def first(a: int) -> int:
    """Is first."""
    return a


def second(b: str = "x") -> str:
    """Is second."""
    return dumps(b)


def _hidden(c: int) -> int:
    """Is hidden."""
    return c


VALUE = 7
