"""The clock of a running process."""

from __future__ import annotations

import time


class MonotonicClock:
    """Fulfils ``ports.Clock``: seconds that only grow, comparable within one process."""

    def now(self) -> float:
        """Return the time."""
        return time.monotonic()
