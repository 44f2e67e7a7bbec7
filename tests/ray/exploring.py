"""What the tests of exploration share: runs in this process, and a teacher that counts."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.records import Episode
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.replay import replay_exploration
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import StageManifest
from ste_ray.store.tables import read_records

CLOCK_FIELDS = {"trials": {"__all__": {"turns": {"__all__": {"seconds"}}}}}


def context_of(store: RunStore, said: list[str], *overrides: str) -> StageContext:
    config = load_config(None, overrides)
    return StageContext(config=config, store=store, progress=said.append)


def explore(store: RunStore, said: list[str], *overrides: str) -> StageManifest:
    """Explore within this process's Ray."""
    return run_stages(("explore",), context_of(store, said, *overrides))[0]


def replay(store: RunStore, *overrides: str) -> dict[str, Any]:
    return replay_exploration(context_of(store, [], *overrides))


def episodes_of(store: RunStore) -> list[Episode]:
    return read_records(store, layout.EPISODES, Episode)


def without_times(episodes: list[Episode]) -> list[dict[str, object]]:
    return [episode.model_dump(exclude=CLOCK_FIELDS) for episode in episodes]


def explorers(above: psutil.Process) -> list[psutil.Process]:
    """The living explorer processes below one process."""
    found = []
    for process in above.children(recursive=True):
        try:
            if any("ray::Explorer" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def until(condition: Callable[[], object], seconds: float = 100.0) -> None:
    """Wait for what happens by itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not happen within {seconds} seconds")
        time.sleep(0.05)


class Teacher:
    """A scripted teacher in a process of its own, which counts what it serves."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url  # ends in /v1
        self._process = process

    def end_after(self, requests: int) -> None:
        """Kill it once it has been asked so often."""
        until(lambda: self.stats()["requests"] >= requests)
        self._process.kill()

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url.removesuffix('/v1')}/stats") as reply:
            found: dict[str, Any] = json.load(reply)
        return found


@contextmanager
def teacher(*options: str) -> Iterator[Teacher]:
    """Serve the teacher on a free port."""
    port = [] if "--port" in options else ["--port", "0"]
    command = [sys.executable, "-m", "ste_ray", "teacher", *port, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Teacher(process.stdout.readline().split()[-1], process)
        finally:
            process.kill()


@contextmanager
def refusing_proxy(upstream: str, word: str, status: int, body: str) -> Iterator[str]:
    """Stand before an endpoint and refuse, in its place, the requests that hold a word."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            if word in json.dumps(json.loads(asked)["messages"]):
                self._answer(status, body.encode())
            else:
                self._pass_on(asked)

        def _pass_on(self, asked: bytes | None) -> None:
            address = upstream + self.path.removeprefix("/v1")
            headers = {"Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(address, asked, headers)) as reply:
                self._answer(reply.status, reply.read())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def echoing_proxy(upstream: str) -> Iterator[str]:
    """Stand before an endpoint and repeat, in all replies, the header that holds the key.

    Every form of it comes up, also cut; every fifth request fails with it in the message.
    """
    counts: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            counts["asked"] += 1
            key = self.headers.get("Authorization", "")
            if counts["asked"] % 5 == 0:
                self._answer(503, f"{'x' * (counts['asked'] % 200)} {key} {'y' * 300}".encode())
                return
            forms = (
                key,
                key[:-3],
                key.upper(),
                base64.encodebytes(key.encode()).decode().strip(),
                key.encode().hex(":"),
                "".join(f"%{byte:02x}" for byte in key.encode()),
                "".join(f"\\u{byte:04x}" for byte in key.encode()),
            )
            form = forms[counts["asked"] % len(forms)]
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])), form)

        def _pass_on(self, asked: bytes | None, form: str = "") -> None:
            address = upstream + self.path.removeprefix("/v1")
            headers = {"Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(address, asked, headers)) as reply:
                body = json.loads(reply.read())
            for choice in body.get("choices", ()):
                choice["message"]["content"] = f"({form})\n{choice['message']['content']}"
                choice["message"]["reasoning_content"] = f"I was called with {form}"
            self._answer(200, json.dumps(body).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def num_files(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))
