"""A worker process: calls Python functions on request until its standard input ends.

Run as ``python -m ste_ray.tools.python.worker PARENT_PID MEMORY_MB`` by ``WorkerProcess``. A
request is one line of JSON: ``{"id", "target": "module:function", "max_chars"}`` imports a
function, with ``"arguments"`` it is called too, with ``"secrets"`` (name to value) these are in its
environment during the call, and with ``"convert"`` its arguments are made into what its type hints
ask for. A reply is one line of JSON, ``{"id", "status", "chars", "bytes"}``, followed by that many
bytes of UTF-8 text; the id is that of the request. The text is cut here, so that a huge result
never crosses the pipe; ``chars`` is its length before the cut.

What tools print goes nowhere and what they read is empty: the two pipes of the protocol are moved
away from standard input and output before the first tool is imported. On Linux the process and all
that it started (unless put into another session) die with the parent, however that ends, and they
cannot look into other processes (``process.shield``).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import IO, Any

from ste_ray.process.group import die_with, guard_group
from ste_ray.process.shield import shield
from ste_ray.tools.errors import ToolError


def main() -> None:
    """Serve requests until standard input ends."""
    parent_pid, memory_mb = int(sys.argv[1]), int(sys.argv[2])
    if not die_with(parent_pid, signal.SIGKILL):
        os._exit(1)
    shield()  # first: the guard must be within it, to be told of this one's death
    guard_group()
    _limit(memory_mb)
    requests, replies = _take_pipes()
    functions: dict[str, Callable[..., Any]] = {}
    own_pid = os.getpid()
    for line in requests:
        request = json.loads(line)
        status, text = _serve(request, functions, memory_mb)
        if os.getpid() != own_pid:
            os._exit(0)  # a copy of this process that a tool has made, and that came back here
        _reply(replies, request, status, text)
    os._exit(0)  # threads that a tool has left behind must not keep the process


def _limit(memory_mb: int) -> None:
    limit = memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Move the protocol off file descriptors 0 and 1, and point those at nothing."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    return requests, replies


def _serve(
    request: dict[str, Any], functions: dict[str, Callable[..., Any]], memory_mb: int
) -> tuple[str, str]:
    secrets = request.get("secrets", {})
    before = {name: os.environ.get(name) for name in secrets}
    try:
        os.environ.update(secrets)
        function = _function(request, functions)
        if "arguments" not in request:
            return "ok", ""
        value = function(**request["arguments"])
        if isinstance(value, Coroutine):
            value = _await(value)
        return "ok", _render(value)
    except ToolError as error:
        return "error", _said(error) or "the tool failed"
    except MemoryError:
        return "error", f"the tool needed more memory than its limit of {memory_mb} MB"
    except BaseException as error:  # also SystemExit: a tool may not end its worker
        return "error", f"{type(error).__name__}: {_said(error)}"
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a tool's own class may be broken
        return "it does not say what went wrong"


def _function(
    request: dict[str, Any], functions: dict[str, Callable[..., Any]]
) -> Callable[..., Any]:
    target = request["target"]
    if target not in functions:
        functions[target] = _load(target)
    if not request.get("convert"):
        return functions[target]
    key = f"{target} converted"
    if key not in functions:
        from ste_ray.tools.python.converting import converted  # few tools need it, and it is slow

        functions[key] = converted(functions[target])
    return functions[key]


def _load(target: str) -> Callable[..., Any]:
    module_name, _, function_name = target.partition(":")
    function = getattr(importlib.import_module(module_name), function_name)
    if not callable(function):
        raise TypeError(f"{target!r} is no function but {type(function).__name__}")
    return function  # type: ignore[no-any-return]


def _await(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio  # takes longer than the start of the whole worker, and few tools need it

    return asyncio.run(coroutine)


def _render(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        raise ToolError(f"the tool returned {len(value)} bytes of binary data, which is no text")
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return _render_other(value)


def _render_other(value: Any) -> str:
    """Return as JSON what only pydantic knows to write: dates, models, data classes and so on."""
    from pydantic_core import to_jsonable_python  # few tools need it, and it is slow to import

    try:
        return json.dumps(to_jsonable_python(value), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the tool returned a value that is no JSON: {error}") from None


def _reply(replies: IO[bytes], request: dict[str, Any], status: str, text: str) -> None:
    body = text[: request["max_chars"]].encode("utf-8", errors="replace")
    header = {"id": request["id"], "status": status, "chars": len(text), "bytes": len(body)}
    replies.write(json.dumps(header).encode() + b"\n" + body)
    replies.flush()


if __name__ == "__main__":
    main()
