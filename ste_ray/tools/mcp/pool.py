"""Sessions with MCP servers: opened when needed, shared, opened anew when lost, few at a time."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import deque
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.process.scratch import ScratchFolder
from ste_ray.tools.mcp.processes import ServerOutput
from ste_ray.tools.mcp.session import Session, SessionStartError
from ste_ray.tools.mcp.transports import http_transport, process_transport
from ste_ray.tools.run.secrets import Secrets

_MAX_PAUSE_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.5


class Place:
    """Where one session is kept: with a server for all episodes, or for one episode.

    The working directory stays when a session is opened anew: what an episode has written outlives
    a server that falls over.
    """

    def __init__(self, server: McpServer, episode: str) -> None:
        self.server = server
        self.episode = episode
        self.lock = asyncio.Lock()  # one start at a time
        self.session: Session | None = None
        self.folder: ScratchFolder | None = None
        self.has_room = False
        self.ended = False
        self.users = 0
        self.used_at = 0.0
        self.failures = 0
        self.retry_at = 0.0
        self.last_error = ""


class SessionPool:
    """Keeps sessions by server, and by episode for stateful servers.

    At most ``max_servers`` server processes run at once. When one more is needed, the one that was
    idle longest and belongs to no episode is ended; if there is none, whoever needs it waits in
    line. Only an episode that has a server already gets more at once, beyond the bound if need be:
    were it to wait, two episodes could wait for each other for ever.

    Args:
        secrets: looked up when a server is started.
        allow_hosts: private hosts that servers over HTTP may be at.
        max_servers: bound on processes.
    """

    def __init__(self, secrets: Secrets, allow_hosts: Collection[str], max_servers: int) -> None:
        self._secrets = secrets
        self._allow_hosts = tuple(allow_hosts)
        self._max_servers = max_servers
        self._places: dict[tuple[str, str], Place] = {}
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def enter(self, server: McpServer, episode: str) -> Place:
        """Return the place of a server, which is not ended for want of room until it is left.

        Args:
            server: the server.
            episode: who calls; of no account unless the server is stateful.
        """
        key = (server.identity, episode if server.stateful else "")
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place(server, key[1])
        place.users += 1
        return place

    def leave(self, place: Place) -> None:
        """Undo ``enter``."""
        place.users -= 1
        place.used_at = time.monotonic()
        if not place.users and self._waiting:
            self._call_next()

    async def ready(self, place: Place, patience_seconds: float) -> Session:
        """Return the open session of a place, opening it if need be.

        Raises:
            SessionStartError: the server cannot be started or reached. After a failure, the next
                start waits for a while that doubles with each, or is refused if that is longer
                than ``patience_seconds``.
        """
        if place.session is not None and _is_usable(place) and not place.ended:
            return place.session
        failures = place.failures
        async with place.lock:
            if place.session is None or not _is_usable(place):
                self._check_open(place)
                if place.failures > failures:  # while this waited: all share that one's outcome
                    raise SessionStartError(place.last_error)
                await _end(place)
                await self._open(place, patience_seconds)
            assert place.session is not None
            return place.session

    async def end_episode(self, episode: str) -> None:
        """End the servers of an episode and remove their folders."""
        if episode:
            keys = [key for key in self._places if key[1] == episode]
            await self._end_places([self._places.pop(key) for key in keys])

    async def aclose(self) -> None:
        """End all servers, side by side."""
        self._closed = True
        places = list(self._places.values())
        self._places.clear()
        await self._end_places(places)

    async def _end_places(self, places: list[Place]) -> None:
        for place in places:
            place.ended = True
        for waiter in self._waiting:  # some of them may wait for a place that is no more
            _wake(waiter)
        await asyncio.gather(*(self._close(place) for place in places))

    def _check_open(self, place: Place) -> None:
        if self._closed:
            raise SessionStartError("the pool of sessions is closed")
        if place.ended:
            raise SessionStartError("its episode has ended")

    async def _open(self, place: Place, patience_seconds: float) -> None:
        pause = place.retry_at - time.monotonic()
        if pause > patience_seconds:
            raise SessionStartError(f"it failed to start a moment ago: {place.last_error}")
        await asyncio.sleep(max(0.0, pause))
        try:
            await self._take_room(place)
            if place.folder is not None and not place.folder.exists():
                place.folder.cleanup()
                place.folder = None
            if place.folder is None:
                place.folder = await asyncio.to_thread(_fresh_folder, place.server)
            self._check_open(place)
            folder, output = Path(place.folder.name), ServerOutput()
            place.session = Session(lambda: self._transport(place.server, folder, output), output)
            await place.session.start()
            self._check_open(place)
        except BaseException as error:
            if isinstance(error, SessionStartError):
                place.failures += 1
                pause = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (place.failures - 1))
                place.retry_at, place.last_error = time.monotonic() + pause, str(error)
            await self._close(place, keep_folder=not place.ended)
            raise
        place.failures = 0

    def _transport(
        self, server: McpServer, folder: Path, output: ServerOutput
    ) -> AbstractAsyncContextManager[Any]:
        if server.command:
            return process_transport(server, self._secrets, folder, output)
        return http_transport(server, self._secrets, self._allow_hosts, output)

    async def _take_room(self, place: Place) -> None:
        if place.has_room or not place.server.command:
            return
        waited = False
        while self._running >= self._max_servers and not self._has_server(place.episode):
            idle = self._longest_idle()
            if idle is not None:
                await self._close(idle)
            else:
                await self._wait_for_room(waited)
                waited = True
            self._check_open(place)
        self._running += 1
        place.has_room = True

    def _has_server(self, episode: str) -> bool:
        return bool(episode) and any(
            key[1] == episode and place.has_room for key, place in self._places.items()
        )

    def _longest_idle(self) -> Place | None:
        idle = [
            place
            for place in self._places.values()
            if place.has_room and not place.users and not place.episode
        ]
        return min(idle, key=lambda place: place.used_at, default=None)

    async def _wait_for_room(self, waited: bool) -> None:
        """Wait in line; who has waited and found no room, because others were quicker, is first."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if waited:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._call_next()  # it was called, and does not come
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)

    def _call_next(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                _wake(waiter)
                return

    async def _close(self, place: Place, *, keep_folder: bool = False) -> None:
        """End a place's session, if it has one, and give its room back."""
        had_room, place.has_room = place.has_room, False
        folder = place.folder
        if not keep_folder:
            place.folder = None
        try:
            await _end(place)
            if folder is not None and not keep_folder:
                await asyncio.to_thread(folder.cleanup)
        finally:
            if had_room:
                self._running -= 1
                self._call_next()


def _is_usable(place: Place) -> bool:
    """Whether the session works, as far as is known, in a folder that nobody has removed."""
    assert place.session is not None
    return place.session.alive and (place.folder is None or place.folder.exists())


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _end(place: Place) -> None:
    session, place.session = place.session, None
    if session is not None:
        await session.close()


def _fresh_folder(server: McpServer) -> ScratchFolder:
    """Make the working directory of a session, a copy of the template if there is one."""
    folder = ScratchFolder(prefix="ste-mcp-")
    try:
        if server.template_dir:
            shutil.copytree(server.template_dir, folder.name, symlinks=True, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        folder.cleanup()
        raise SessionStartError(
            f"template_dir={server.template_dir!r} cannot be copied: {error}"
        ) from None
    return folder
