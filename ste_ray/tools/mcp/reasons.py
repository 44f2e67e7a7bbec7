"""Says in one line why a server could not be used, or an answer of it not be taken."""

from __future__ import annotations

from mcp import MCPError
from pydantic import ValidationError

from ste_ray.errors import SteRayError
from ste_ray.tools.http.addresses import BlockedAddressError


def first_problem(error: Exception) -> str:
    """Return what is wrong with an answer, in one line."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return " ".join(str(error).split())


def reason_of(error: BaseException | None) -> str:
    """Return the first cause within groups of errors, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None:
        return "it ended"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BlockedAddressError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    if isinstance(error, SteRayError):
        return text
    if isinstance(error, ValidationError):
        return f"it breaks the protocol: {first_problem(error)}"
    if isinstance(error, MCPError):
        return f"it did not accept the session ({error.message})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
