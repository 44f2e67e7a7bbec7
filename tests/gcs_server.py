"""A stand-in for Google Cloud Storage: its XML interface as far as ``obstore`` speaks it.

It holds one bucket, ``bucket``, in memory, gives objects generations and enforces the conditions
on them. It checks no credentials.
"""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from xml.sax.saxutils import escape

BUCKET = "bucket"


class Stored(NamedTuple):
    """An object: its content, its generation and when it was written (seconds since 1970)."""

    data: bytes
    generation: int
    written: float

    @property
    def headers(self) -> dict[str, str]:
        """What is told of it."""
        return {
            "ETag": f'"{hashlib.md5(self.data).hexdigest()}"',
            "x-goog-generation": str(self.generation),
            "Last-Modified": formatdate(self.written, usegmt=True),
        }


class Bucket:
    """What the server holds. ``refuse_with`` makes it answer everything with a status."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.parts_received = 0
        self.lock = threading.Lock()
        self.refuse_with: int | None = None
        self._generation = 1000

    def put(self, key: str, data: bytes) -> Stored:
        """Write an object under a new generation."""
        self._generation += 1
        self.objects[key] = Stored(data, self._generation, time.time())
        return self.objects[key]

    def listing(self, prefix: str) -> str:
        """The objects below a prefix, all on one page."""
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Generation>{one.generation}</Generation>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(one.written))}"
            f'</LastModified><ETag>"x"</ETag><Size>{len(one.data)}</Size></Contents>'
            for key, one in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urllib.parse.urlsplit(self.path)
        name, _, key = urllib.parse.unquote(address.path).lstrip("/").partition("/")
        query = dict(urllib.parse.parse_qsl(address.query, keep_blank_values=True))
        held = self.server.bucket
        with held.lock:
            if held.refuse_with is not None:
                self._fail(held.refuse_with, "AccessDenied")
            elif name != BUCKET:
                self._fail(404, "NoSuchBucket")
            elif "uploads" in query or "uploadId" in query:
                self._upload(held, key, query, body)
            elif self.command == "PUT":
                self._put(held, key, body)
            elif not key:
                self._reply(200, held.listing(query.get("prefix", "")))
            elif key not in held.objects:
                self._fail(404, "NoSuchKey")
            elif self.command == "DELETE":
                del held.objects[key]
                self._reply(204)
            else:
                self._reply(200, held.objects[key].data, held.objects[key].headers)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815

    def _put(self, held: Bucket, key: str, body: bytes) -> None:
        wanted = self.headers.get("x-goog-if-generation-match")
        there = held.objects[key].generation if key in held.objects else 0
        if wanted is not None and int(wanted) != there:
            self._fail(412, "PreconditionFailed")
        else:
            self._reply(200, "", held.put(key, body).headers)

    def _upload(self, held: Bucket, key: str, query: dict[str, str], body: bytes) -> None:
        """Take an upload in parts: begun, each of its parts, completed or given up."""
        if "uploads" in query:
            number = f"upload{len(held.uploads)}"
            held.uploads[number] = {}
            self._reply(
                200,
                f"<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key>"
                f"<UploadId>{number}</UploadId></InitiateMultipartUploadResult>",
            )
        elif self.command == "PUT":
            held.parts_received += 1
            held.uploads[query["uploadId"]][int(query["partNumber"])] = body
            self._reply(200, "", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        elif self.command == "POST":
            parts = held.uploads.pop(query["uploadId"])
            stored = held.put(key, b"".join(parts[number] for number in sorted(parts)))
            self._reply(
                200,
                f"<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key>"
                '<ETag>"x"</ETag></CompleteMultipartUploadResult>',
                {"x-goog-generation": str(stored.generation)},
            )
        else:
            held.uploads.pop(query["uploadId"], None)
            self._reply(204)

    def _fail(self, status: int, code: str) -> None:
        self._reply(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>")

    def _reply(
        self, status: int, body: str | bytes = "", headers: dict[str, str] | None = None
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    bucket: Bucket


@contextmanager
def gcs_server() -> Iterator[tuple[str, Bucket]]:
    """Serve an empty bucket on this machine; yield the address and what it holds."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.bucket = Bucket()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.bucket
    finally:
        server.shutdown()
        server.server_close()
