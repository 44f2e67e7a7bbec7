"""Sessions with MCP servers: opened when needed, shared, opened anew when lost, few at a time."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from ste_ray.core.records import fingerprint
from ste_ray.tools.kinds import McpServer
from ste_ray.tools.mcp.session import Session, SessionStartError
from ste_ray.tools.mcp.transports import ServerOutput, http_transport, process_transport
from ste_ray.tools.secrets import Secrets

_MAX_PAUSE_SECONDS = 30.0


class _Place:
    """Where one session is kept: with a server for all episodes, or for one episode."""

    def __init__(self, server: McpServer, episode: str) -> None:
        self.server = server
        self.episode = episode
        self.lock = asyncio.Lock()  # one start at a time
        self.session: Session | None = None
        self.folder: Path | None = None
        self.users = 0
        self.used_at = 0.0
        self.failures = 0
        self.retry_at = 0.0
        self.last_error = ""


class SessionPool:
    """Keeps sessions by server, and by episode for stateful servers.

    At most ``max_servers`` server processes run at once. When one more is needed, the one that was
    idle longest and belongs to no episode is ended; if there is none, whoever needs it waits.

    Args:
        secrets: looked up when a server is started.
        allow_hosts: private hosts that servers over HTTP may be at.
        max_servers: bound on processes.
    """

    def __init__(self, secrets: Secrets, allow_hosts: Collection[str], max_servers: int) -> None:
        self._secrets = secrets
        self._allow_hosts = tuple(allow_hosts)
        self._max_servers = max_servers
        self._places: dict[tuple[str, str], _Place] = {}
        self._running = 0
        self._room = asyncio.Condition()
        self._closed = False

    @asynccontextmanager
    async def session(self, server: McpServer, episode: str) -> AsyncIterator[Session]:
        """Yield the open session of a server; it is not closed for want of room meanwhile.

        Raises:
            SessionStartError: the server cannot be started or reached. After a failure, further
                starts are refused for a while that doubles with each.
        """
        if self._closed:
            raise SessionStartError("the pool of sessions is closed")
        key = (fingerprint(server.model_dump()), episode if server.stateful else "")
        place = self._places.setdefault(key, _Place(server, key[1]))
        place.users += 1
        try:
            async with place.lock:
                if place.session is None or not place.session.alive:
                    await self._close(place)
                    await self._open(place)
                session = place.session
                assert session is not None
            yield session
        finally:
            place.users -= 1
            place.used_at = time.monotonic()
            if not place.users:
                await self._tell_room()

    async def end_episode(self, episode: str) -> None:
        """End the servers of an episode and remove their folders."""
        keys = [key for key in self._places if key[1] == episode and episode]
        await asyncio.gather(*(self._close(self._places.pop(key)) for key in keys))

    async def aclose(self) -> None:
        """End all servers, side by side."""
        self._closed = True
        places = list(self._places.values())
        self._places.clear()
        await asyncio.gather(*(self._close(place) for place in places))

    async def _open(self, place: _Place) -> None:
        if time.monotonic() < place.retry_at:
            raise SessionStartError(f"it failed to start a moment ago: {place.last_error}")
        if place.server.command:
            await self._take_room()
        try:
            folder = await asyncio.to_thread(_fresh_folder, place.server)
            place.folder = folder
            output = ServerOutput()
            session = Session(lambda: self._transport(place.server, folder, output), output)
            place.session = session  # from here on it is closed with the place
            await session.start()
        except SessionStartError as error:
            await self._close(place)
            place.failures += 1
            pause = min(_MAX_PAUSE_SECONDS, 0.5 * 2**place.failures)
            place.retry_at, place.last_error = time.monotonic() + pause, str(error)
            raise
        except BaseException:
            await self._close(place)
            raise
        place.failures = 0

    def _transport(
        self, server: McpServer, folder: Path, output: ServerOutput
    ) -> AbstractAsyncContextManager[Any]:
        if server.command:
            return process_transport(server, self._secrets, folder, output)
        return http_transport(server, self._secrets, self._allow_hosts)

    async def _take_room(self) -> None:
        async with self._room:
            while self._running >= self._max_servers:
                idle = self._longest_idle()
                if idle is None:
                    await self._room.wait()
                else:
                    session, folder = idle.session, idle.folder
                    idle.session = idle.folder = None
                    self._running -= 1
                    await _end(session, folder)
            self._running += 1

    def _longest_idle(self) -> _Place | None:
        idle = [
            place
            for place in self._places.values()
            if place.session is not None
            and place.server.command
            and not place.users
            and not place.episode
        ]
        return min(idle, key=lambda place: place.used_at, default=None)

    async def _close(self, place: _Place) -> None:
        """End a place's session, if it has one, and give its room back."""
        session, folder = place.session, place.folder
        place.session = place.folder = None
        if folder is None:
            return
        try:
            await _end(session, folder)
        finally:
            if place.server.command:
                self._running -= 1
                await self._tell_room()

    async def _tell_room(self) -> None:
        async with self._room:
            self._room.notify_all()


async def _end(session: Session | None, folder: Path | None) -> None:
    if session is not None:
        await session.close()
    if folder is not None:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _fresh_folder(server: McpServer) -> Path:
    """Make the working directory of a session, a copy of the template if there is one."""
    folder = Path(tempfile.mkdtemp(prefix="ste-mcp-"))
    try:
        if server.template_dir:
            shutil.copytree(server.template_dir, folder, symlinks=True, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
        raise SessionStartError(
            f"template_dir={server.template_dir!r} cannot be copied: {error}"
        ) from None
    return folder
