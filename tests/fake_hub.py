"""A stand-in for the Hugging Face hub: models in folders, as the hub's client asks for them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What a hub has, and what was asked of it.

    Attributes:
        url: its address.
        models: folders by owner, slash and name.
        status: of every answer; 0: as it should be.
        fetched: the files that were given out.
    """

    url: str
    models: Mapping[str, Path]
    status: int = 0
    fetched: list[str] = field(default_factory=list)


@contextmanager
def fake_hub(models: Mapping[str, Path]) -> Iterator[FakeHub]:
    """Serve the models of these folders as a hub does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_address[1]}", models)
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        hub: FakeHub = self.server.hub  # type: ignore[attr-defined]
        path = urlsplit(self.path).path.strip("/")
        if hub.status:
            self._send(hub.status, b"", body)
            return
        for name, folder in hub.models.items():
            if path in (f"api/models/{name}", f"api/models/{name}/revision/main"):
                self._send(200, json.dumps({"id": name, "sha": _COMMIT}).encode(), body)
                return
            if path == f"api/models/{name}/tree/{_COMMIT}":
                self._send(200, _listing(folder), body)
                return
            if path.startswith(f"{name}/resolve/"):
                file = folder / path.removeprefix(f"{name}/resolve/").partition("/")[2]
                if body:
                    hub.fetched.append(file.name)
                self._send(200, file.read_bytes(), body, ETag=f'"{_digest(file)}"')
                return
        # As the hub answers who has no key: a model may be there and private.
        code = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
        self._send(401, b"", body, **code)

    def _send(self, status: int, data: bytes, body: bool, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "X-Repo-Commit": _COMMIT}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


def _listing(folder: Path) -> bytes:
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    return json.dumps([_entry(one, folder) for one in files]).encode()


def _entry(file: Path, folder: Path) -> dict[str, object]:
    path = file.relative_to(folder).as_posix()
    return {"type": "file", "path": path, "size": file.stat().st_size, "oid": _digest(file)}


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
