"""``ste-ray serve`` as a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def served(
    *arguments: Any, env: Mapping[str, str] | None = None, **options: Any
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command on a free port; yield the process and what it prints once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ste_ray", "serve", *map(str, arguments), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        **options,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()
