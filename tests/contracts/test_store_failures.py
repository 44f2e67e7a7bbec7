"""Tables that cannot be read: what is said of the storage, and what of the file."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ste_ray.core.records import Record
from ste_ray.errors import ConfigError, StageInputError, StoreError
from ste_ray.store import s3
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.damage import parsing, reading
from ste_ray.store.tables import open_parquet, read_records, write_records

PART = "explore/episodes/part-00000.parquet"


class Point(Record):
    x: int


@pytest.fixture(autouse=True)
def _impatient(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_MAX_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def store_at(address: str, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    return open_store("s3://bucket/run")


@contextmanager
def answering(status: int, code: str = "", body: bytes = b"") -> Iterator[str]:
    """An S3 that answers all requests alike: with an error of S3, or with an object."""
    error = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    content = error.encode() if code else body

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(content)

        def do_HEAD(self) -> None:
            self._answer(b"")

        def _answer(self, sent: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"1"')
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def read_lazily(store: RunStore) -> None:
    open_parquet(store, PART)


def read_whole(store: RunStore) -> None:
    read_records(store, PART, Point)


@pytest.mark.parametrize("read", [read_lazily, read_whole])
@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_a_storage_that_does_not_answer_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[RunStore], None], host: str
) -> None:
    store = store_at(f"http://{host}:{free_port()}", monkeypatch)
    with pytest.raises(StoreError, match="run it again once") as caught:
        read(store)
    assert PART in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize("read", [read_lazily, read_whole])
@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (403, "ExpiredToken", ConfigError, "check the AWS credentials"),
        (403, "InvalidAccessKeyId", ConfigError, "check the AWS credentials"),
        (403, "AccessDenied", ConfigError, "check the AWS credentials"),
        (404, "NoSuchBucket", ConfigError, "there is no bucket 'bucket'"),
        (503, "SlowDown", StoreError, "run it again"),
        (500, "InternalError", StoreError, "run it again"),
    ],
)
def test_what_a_storage_refuses_is_said_as_such(
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[RunStore], None],
    status: int,
    code: str,
    kind: type[Exception],
    said: str,
) -> None:
    with answering(status, code) as address:
        store = store_at(address, monkeypatch)
        # Whether a file is there is asked first, and has no body that says more.
        monkeypatch.setattr(RunStore, "exists", lambda *_: True)
        with pytest.raises(kind, match=said) as caught:
            read(store)
    assert "damaged" not in str(caught.value)


def test_only_a_file_that_came_and_holds_no_table_is_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(200, body=b"no Parquet at all") as address:
        store = store_at(address, monkeypatch)
        with pytest.raises(StageInputError, match="is damaged or no Parquet file"):
            read_lazily(store)


@pytest.fixture
def local(tmp_path: Path) -> RunStore:
    store = open_store(str(tmp_path / "run"))
    write_records(store, PART, [Point(x=number) for number in range(2000)], Point)
    return store


def fail(error: Exception) -> Any:
    raise error


def test_a_read_that_fails_once_is_no_damage(local: RunStore) -> None:
    expected = pytest.raises(StoreError, match="the wire broke; run the same command again")
    with expected, reading(local, PART):
        fail(OSError("the wire broke"))


def test_damage_that_is_met_while_reading_is_damage(local: RunStore) -> None:
    data = local.read_bytes(PART)
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(1)
    middle = group.column(0).data_page_offset + group.column(0).total_compressed_size // 2
    local.write_bytes(PART, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    file = open_parquet(local, PART)
    expected = pytest.raises(StageInputError, match=rf"{PART}' is damaged .*; mend it")
    with expected, reading(local, PART, "mend it"):
        file.read_row_group(1)


def test_a_file_that_is_gone_meanwhile_is_said_to_be(local: RunStore) -> None:
    local.delete(PART)
    with pytest.raises(StageInputError, match=f"{PART}' is not there; delete the stage's folder"):
        read_lazily(local)


@pytest.mark.parametrize("error", [MemoryError(), pa.ArrowMemoryError("no memory")])
def test_a_lack_of_memory_is_no_damage(local: RunStore, error: Exception) -> None:
    with pytest.raises(MemoryError), reading(local, PART):
        fail(error)
    with pytest.raises(MemoryError), parsing(PART):
        fail(error)
