"""Tools that only read, for tests that execute calls of several settings beside each other."""

_METRES = {"m": 1, "km": 1000}


def metres(value: float, unit: str) -> dict[str, float]:
    """Return a length in metres."""
    return {"metres": value * _METRES[unit]}


def even(number: int) -> dict[str, bool]:
    """Say whether a number is even."""
    return {"even": number % 2 == 0}
