"""Stands in for a tool: answers a call from nothing but what is documented about it.

Where the schema of the results is documented, the answer fits it. Otherwise the arguments come back
with a few values made up beside them. It looks like an answer and is none: nothing is computed, and
no argument is refused.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from ste_ray.simulated_provider.teacher.making import FAULTS, ValueMaker, day, shortened
from ste_ray.simulated_provider.teacher.schema import read_tools

_ARGUMENTS = "\nArguments of the call:\n"
_RETURNS = re.compile(r"^Returns: ", re.M)


def simulate(prompt: str, rng: random.Random) -> str:
    """Return the answer of the tool that ``prompt`` describes, as JSON."""
    documented, _, rest = prompt.rpartition(_ARGUMENTS)
    tools = read_tools(documented)
    arguments = _json_at(rest, 0)
    if not tools or not isinstance(arguments, dict):
        return json.dumps({"error": "the call cannot be read"})
    schema = _returned(documented)
    if schema is None:
        return json.dumps(_echo(arguments, rng), ensure_ascii=False)
    value = ValueMaker(schema, tools[0], arguments, rng).make(schema)
    return json.dumps(value, ensure_ascii=False)


def _returned(documented: str) -> dict[str, Any] | None:
    """Return the documented schema of the results: the last, as a description may hold anything."""
    for match in reversed(list(_RETURNS.finditer(documented))):
        value = _json_at(documented, match.end())
        if isinstance(value, dict):
            return value
    return None


def _json_at(text: str, start: int) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _echo(arguments: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    echoed = {key: shortened(item) for key, item in arguments.items() if key not in FAULTS}
    made = {
        "result": round(rng.uniform(1, 1000), 2),
        "reference": f"{rng.randrange(16**8):08x}",
        "updated": day(rng),
    }
    return {**made, **echoed}
