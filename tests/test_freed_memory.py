"""Memory that threads freed goes back to the system."""

import platform
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
