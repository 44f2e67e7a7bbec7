"""Stands in for a tool: answers a call from nothing but what is documented about it.

Where the schema of the results is documented, the answer fits it. Otherwise the arguments come back
with a few values made up beside them. It looks like an answer and is none: nothing is computed, and
no argument is refused.
"""

from __future__ import annotations

import json
import random
import re

from ste_ray.simulated_provider.teacher.conversation import json_at
from ste_ray.simulated_provider.teacher.drawing import written
from ste_ray.simulated_provider.teacher.schema import read_tools
from ste_ray.simulated_provider.teacher.schema_values import FAULTS, ValueMaker, shortened

_ARGUMENTS = "\nArguments of the call:\n"
_RETURNS = re.compile(r"^Returns: ", re.M)


def simulate(prompt: str, rng: random.Random) -> str:
    """Return the answer of the tool that ``prompt`` describes, as JSON."""
    documented, _, rest = prompt.rpartition(_ARGUMENTS)
    tools, arguments = read_tools(documented), json_at(rest)
    if not tools or not isinstance(arguments, dict):
        return json.dumps({"error": "the call cannot be read"})
    schemas = (json_at(documented, match.end()) for match in _RETURNS.finditer(documented))
    last = [schema for schema in schemas if isinstance(schema, dict)][-1:]
    if last:  # a description may hold anything; the schema comes after it
        value = ValueMaker(last[0], tools[0], arguments, rng).make(last[0])
    else:
        made = {"result": round(rng.uniform(1, 1000), 2), "reference": written("########", rng)}
        echoed = {key: shortened(item) for key, item in arguments.items() if key not in FAULTS}
        value = {**made, "updated": written("{day}", rng), **echoed}
    return json.dumps(value, ensure_ascii=False)
