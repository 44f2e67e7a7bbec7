"""Starts an MCP server so that it cannot outlive whoever started it. Standard library only.

Called in a process of its own with ``PARENT_PID SHIELDED COMMAND [ARGUMENT…]``. The process becomes
the server (or a wrapper script that starts it): the kernel kills it when the parent dies, however
that ends, and a guard beside it kills all that it has started and left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from ste_ray.process.group import die_with, guard_group
from ste_ray.process.shield import shield

_CANNOT_START = 127


def main() -> None:
    """Become the command that the arguments name."""
    parent_pid, shielded, command = int(sys.argv[1]), sys.argv[2] == "1", sys.argv[3:]
    with contextlib.suppress(PermissionError):  # it leads a group already
        os.setsid()
    if not die_with(parent_pid, signal.SIGKILL):
        os._exit(1)
    if shielded:
        shield()  # first: the guard must be within it, to be told of this one's death
    guard_group()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]!r}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(_CANNOT_START)


def launch_command(command: str, arguments: list[str], shielded: bool = True) -> list[str]:
    """Return the command line that starts ``command`` through this module.

    The launcher sees none of this process's Python settings, and so the server inherits none.
    """
    root = str(Path(__file__).resolve().parents[3])
    code = (
        f"import sys; sys.path.insert(0, {root!r}); "
        "from ste_ray.tools.mcp.launcher import main; main()"
    )
    start = [sys.executable, "-I", "-S", "-c", code, str(os.getpid()), str(int(shielded))]
    return [*start, command, *arguments]
