"""A worker process: checks arguments and schemas, and shortens answers, until its input ends.

Run as ``python -m ste_ray.tools.checks.worker MEMORY_MB`` by ``pool``. A request is one line
of JSON: ``{"key", "seconds"}`` with ``"schema"`` where the key is new, and ``"arguments"`` (JSON
text) unless the schema itself is to be checked; ``{"forget": true}`` drops all keys. A reply is one
line, ``{"refusal"}`` (null: nothing is wrong) or ``{"unchecked"}`` with a reason. With
``"message_bytes"`` so many bytes of an MCP server's answer follow, and the reply is ``{"short"}``
(null: it answers no call) or ``{"unchecked"}``. ``seconds`` limit the processor time of a request:
the kernel then ends this process, whatever code it is in.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.checks.schemas import metaschema_problem
from ste_ray.tools.mcp.condensing import NoCallError, condensed


def main() -> None:
    """Serve requests until standard input ends."""
    limit = int(sys.argv[1]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    schemas: dict[str, Any] = {}
    checks: dict[str, ArgumentCheck] = {}
    _write({"ready": True})
    requests = sys.stdin.buffer
    for line in requests:
        request = json.loads(line)
        if request.get("forget"):
            schemas.clear()
            checks.clear()
            continue
        message = requests.read(request.get("message_bytes", 0))
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        answer = _condensed(message) if message else _answer(request, schemas, checks)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answer)
    os._exit(0)


def _answer(
    request: dict[str, Any], schemas: dict[str, Any], checks: dict[str, ArgumentCheck]
) -> dict[str, Any]:
    key = request["key"]
    try:
        if "arguments" not in request:
            return {"refusal": metaschema_problem(request["schema"])}
        if "schema" in request:
            schemas[key] = request["schema"]
        if key not in checks:
            checks[key] = ArgumentCheck(schemas[key])
        return {"refusal": checks[key].refusal(request["arguments"])}
    except MemoryError:
        return {"unchecked": "it takes too much memory"}
    except Exception as error:
        return {"unchecked": f"{type(error).__name__}: {str(error)[:200]}"}


def _condensed(message: bytes) -> dict[str, Any]:
    try:
        return {"short": condensed(message.decode(errors="replace"))}
    except NoCallError:
        return {"short": None}
    except RecursionError:
        return {"unchecked": "it is nested more than 200 levels deep"}
    except MemoryError:
        return {"unchecked": "it takes too much memory"}
    except ValueError as error:
        return {"unchecked": f"it is no JSON: {str(error)[:200]}"}


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
