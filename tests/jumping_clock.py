"""A clock that jumps ahead where an event loop would wait, for tests of what takes its time."""

from __future__ import annotations

import selectors


class JumpingClock(selectors.DefaultSelector):
    """Fulfils ``ports.Clock``; where an event loop would wait, the time is later at once.

    It is the selector of the loop, ``asyncio.SelectorEventLoop(clock)``, whose ``time`` is ``now``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def select(self, timeout: float | None = None):
        assert timeout is not None, "everything waits, and nothing will ever end it"
        self.seconds += max(0.0, timeout)
        return super().select(0)
