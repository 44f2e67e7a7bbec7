"""Memory that threads freed goes back to the system, and few kernels are kept."""

import os
import platform
import subprocess
import sys
import threading

import psutil
import pytest

from ste_ray.process.memory import give_back_freed

_BLOCK = 64 * 1024  # below what the C library gives back at once
_BLOCKS = 3000
_SMALL = 10 * 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep less")
def test_what_a_thread_freed_is_given_back() -> None:
    rest = []  # the end of each thread's store stays in use, so that it is not given back by itself

    def work() -> None:
        blocks = [bytearray(_BLOCK) for _ in range(_BLOCKS)]
        rest.append(blocks[-1])

    process = psutil.Process()
    before = process.memory_info().rss
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    kept = process.memory_info().rss - before
    give_back_freed()
    left = process.memory_info().rss - before
    assert kept > _BLOCK * _BLOCKS / 2, "nothing was kept: this test shows nothing"
    assert left < _SMALL


_MANY_SHAPES = """
import torch
from ste_ray.process.memory import keep_few_kernels
keep_few_kernels()
weights = torch.ones(64, 64, dtype=torch.bfloat16)
for rows in [*range(2, 102), 2]:
    torch.nn.functional.linear(torch.ones(rows, 64, dtype=torch.bfloat16), weights)
"""


@pytest.mark.parametrize(("said", "found_again"), [(None, 0), ("1024", 1)])
def test_kernels_of_shapes_long_past_are_not_kept(said: str | None, found_again: int) -> None:
    environment = {**os.environ, "ONEDNN_VERBOSE": "2"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    if said is not None:
        environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = said
    told = subprocess.run(
        [sys.executable, "-c", _MANY_SHAPES],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "create:cache_miss" not in told:
        pytest.skip("oneDNN does not multiply in bf16 on this CPU")
    assert told.count("create:cache_hit") == found_again
