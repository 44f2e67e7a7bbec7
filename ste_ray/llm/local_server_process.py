"""The process of a local model server: ``transformers serve``, ending with its parent.

Run as ``python -m ste_ray.llm.local_server_process PARENT_PID serve …`` by ``running_local_model``.
The command line of transformers is entered behind its look for updates, which needs a network.
"""

from __future__ import annotations

import os
import signal
import sys

from ste_ray.process.group import die_with


def main() -> None:
    """Serve until killed."""
    parent_pid = int(sys.argv.pop(1))
    if not die_with(parent_pid, signal.SIGKILL):
        os._exit(1)
    from transformers.cli.transformers import app

    app()


if __name__ == "__main__":
    main()
