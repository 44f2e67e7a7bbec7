"""Checks the arguments of calls for a limited time, wherever the schema and they come from.

What is right is ``arguments``; this decides where it is found out, and for how long. Checks that
are little work for certain are done at once, others in processes of their own (``pool``).
Arguments that cannot be checked within a second of processor time are not refused: the tool itself
judges them. That is said once a tool; after a few of them its calls are no longer checked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ste_ray.process.output import say
from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.checks.cost import CheckCost
from ste_ray.tools.checks.pool import UncheckedError, shared_pool

_CHECK_SECONDS = 1.0
_MAX_FAILURES = 3


class BoundedCheck:
    """Checks calls of one tool.

    Args:
        name: of the tool.
        parameters: its JSON Schema, as ``ArgumentCheck`` takes it.
    """

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self._name = name
        self._parameters = parameters
        self._cost = CheckCost(parameters)
        self._check: ArgumentCheck | None = None
        self._key = ""
        self._num_failures = 0

    async def refusal(
        self, arguments_json: str, arguments: Mapping[str, Any] | None = None
    ) -> str | None:
        """Return why a call is refused, or None when its arguments fit or cannot be judged.

        Args:
            arguments_json: the arguments as they were written.
            arguments: the same, where they have been read.
        """
        if self._cost.is_small(arguments_json):
            return self._at_once(arguments_json, arguments)
        loop, pool = asyncio.get_running_loop(), shared_pool()
        return await loop.run_in_executor(pool.executor, self._elsewhere, arguments_json)

    def refusal_now(self, arguments_json: str) -> str | None:
        """Return the same outside an event loop."""
        if self._cost.is_small(arguments_json):
            return self._at_once(arguments_json)
        return self._elsewhere(arguments_json)

    def _at_once(
        self, arguments_json: str, arguments: Mapping[str, Any] | None = None
    ) -> str | None:
        if self._check is None:
            self._check = ArgumentCheck(self._parameters)
        if arguments is not None:
            return self._check.refusal_of(arguments)
        return self._check.refusal(arguments_json)

    def _elsewhere(self, arguments_json: str) -> str | None:
        if self._num_failures >= _MAX_FAILURES:
            return None
        try:
            if not self._key:
                self._key = _key(self._parameters)
            return shared_pool().ask(self._key, self._parameters, _CHECK_SECONDS, arguments_json)
        except UncheckedError as error:
            self._num_failures += 1
            if self._num_failures == 1:
                say(
                    f"tool {self._name!r}: arguments cannot be checked against its parameters "
                    f"({error}); the tool itself judges such calls; simplify the parameters to "
                    "have them checked"
                )
            return None


def _key(parameters: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(parameters)
    except (RecursionError, ValueError, TypeError) as error:
        raise UncheckedError(f"the schema cannot be handed on: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()
