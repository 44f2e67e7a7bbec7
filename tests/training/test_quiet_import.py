"""What a person sees of the libraries that a training imports: nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SAY = "logging.getLogger('bitsandbytes.backends.cpu.ops').warning('kernels are missing')"


@pytest.mark.parametrize("package", ["training", "generation"])
def test_a_library_does_not_ask_for_packages_that_nothing_here_uses(package):
    code = f"import logging, ste_ray.{package}; {_SAY}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert ended.stderr == b""
