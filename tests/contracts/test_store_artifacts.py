"""One suite for all kinds of storage that can hold a run."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ste_ray.errors import ConfigError, StageInputError, StoreError
from ste_ray.store.artifacts import RunStore, open_store


def race(attempts: list[Callable[[], bool]]) -> list[bool]:
    """Run all attempts at the same moment and return their answers."""
    barrier = threading.Barrier(len(attempts))

    def start(attempt: Callable[[], bool]) -> bool:
        barrier.wait()
        return attempt()

    with ThreadPoolExecutor(len(attempts)) as pool:
        return list(pool.map(start, attempts))


def test_what_was_written_is_read_and_overwritten(store: RunStore) -> None:
    store.write_bytes("explore/deep/a.bin", b"one")
    assert store.read_bytes("explore/deep/a.bin") == b"one"
    store.write_bytes("explore/deep/a.bin", b"")
    assert store.read_bytes("explore/deep/a.bin") == b""


def test_absent_objects(store: RunStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_bytes("nothing")
    assert not store.exists("nothing")
    assert store.list("nothing") == []
    assert store.list() == []
    assert not store.replace_bytes("folder/nothing", b"x", '"0123"')
    store.delete("nothing")
    store.delete_folder("nothing")


def test_exists_means_that_very_object(store: RunStore) -> None:
    store.write_bytes("train/model.json.bak", b"x")
    assert store.exists("train/model.json.bak")
    assert not store.exists("train/model.json")
    assert not store.exists("train")


def test_list_is_sorted_and_keeps_to_the_folder(store: RunStore) -> None:
    for path in ("explore/b", "explore/a/2", "explore/a/1", "explored/x", "top"):
        store.write_bytes(path, b"x")
    assert store.list("explore") == ["explore/a/1", "explore/a/2", "explore/b"]
    assert store.list() == ["explore/a/1", "explore/a/2", "explore/b", "explored/x", "top"]
    assert store.list("top") == []


def test_more_objects_than_one_page_of_a_listing(s3_bucket: str) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    for number in range(1001):  # into the server's memory: as requests this would take long
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(s3_bucket, f"many/{number:04d}", b"")
    store = open_store(f"s3://{s3_bucket}")
    assert len(store.list("many")) == 1001
    store.delete_folder("many")
    assert store.list() == []


def test_deleting_keeps_to_the_folder(store: RunStore) -> None:
    for path in ("a/1", "a/b/2", "ab/3"):
        store.write_bytes(path, b"x")
    store.delete("a/1")
    assert store.list() == ["a/b/2", "ab/3"]
    store.delete_folder("a")
    assert store.list() == ["ab/3"]


def test_create_writes_only_once(store: RunStore) -> None:
    assert store.create_bytes("locks/one", b"first")
    assert not store.create_bytes("locks/one", b"second")
    assert store.read_bytes("locks/one") == b"first"
    assert store.list("locks") == ["locks/one"]


def test_exactly_one_of_racing_creators_wins(store: RunStore) -> None:
    for turn in range(5):
        path = f"race/{turn}"
        values = [f"writer {n}".encode() for n in range(4)]
        won = race([lambda v=value, p=path: store.create_bytes(p, v) for value in values])
        assert sorted(won) == [False, False, False, True]
        assert store.read_bytes(path) == values[won.index(True)]


def test_replace_needs_the_version_that_was_read(store: RunStore) -> None:
    store.write_bytes("state", b"one")
    data, version = store.read_versioned("state")
    assert data == b"one"
    assert store.replace_bytes("state", b"two", version)
    assert not store.replace_bytes("state", b"three", version)
    assert store.read_bytes("state") == b"two"
    assert store.list() == ["state"]


def test_exactly_one_of_racing_replacers_wins(store: RunStore) -> None:
    store.write_bytes("state", b"start")
    for _ in range(5):
        _, version = store.read_versioned("state")
        values = [os.urandom(8) for _ in range(4)]
        won = race(
            [lambda v=value, at=version: store.replace_bytes("state", v, at) for value in values]
        )
        assert sorted(won) == [False, False, False, True]
        assert store.read_bytes("state") == values[won.index(True)]


def test_readers_never_see_half_a_write(store: RunStore) -> None:
    contents = [bytes([n]) * 200_000 for n in range(3)]
    store.write_bytes("big", contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(20):
            store.write_bytes("big", contents[turn % 3])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    while not done.is_set():
        seen.append(store.read_bytes("big"))
    thread.join()
    assert set(seen) <= set(contents)


def test_a_failed_local_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path))
    store.write_bytes("file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot write '.*file': No space left .*free disk space"):
        store.write_bytes("file", b"new")
    with pytest.raises(StoreError, match="free disk space"):
        store.create_bytes("other", b"new")
    monkeypatch.undo()
    assert store.read_bytes("file") == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_json_survives_and_damage_is_named(store: RunStore) -> None:
    value = {"name": "zürich 🚆", "list": [1, 2.5, None, True]}
    store.write_json("a.json", value)
    assert store.read_json("a.json") == value
    store.write_bytes("a.json", b'{"cut')
    with pytest.raises(StageInputError, match=r"a\.json' is no valid JSON"):
        store.read_json("a.json")


def test_folders_travel_whole(store: RunStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "config.json").write_text("{}")
    (source / "sub" / "weights.bin").write_bytes(os.urandom(9_000_000))  # more than one S3 part
    store.upload_folder(source, "train/model")
    assert store.list("train") == ["train/model/config.json", "train/model/sub/weights.bin"]
    target = tmp_path / "target"
    store.download_folder("train/model", target)
    files = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert files == {
        "config.json": b"{}",
        "sub/weights.bin": (source / "sub" / "weights.bin").read_bytes(),
    }


def test_folders_that_hold_nothing_are_refused(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.download_folder("train/model", tmp_path / "target")
    with pytest.raises(FileNotFoundError):
        store.upload_folder(tmp_path / "absent", "train/model")


def test_a_store_can_be_pickled(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("a", b"x")  # so that its clients exist
    store.filesystem.get_file_info(store.path("a"))
    data = pickle.dumps(store)
    assert b"testing" not in data  # credentials stay where they are
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    copy = pickle.loads(data)
    assert copy.uri == store.uri
    assert copy.read_bytes("a") == b"x"


def test_pyarrow_reads_what_the_store_wrote(store: RunStore) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"n": [1, 2, 3]})
    pq.write_table(table, sink)
    store.write_bytes("data/part-0.parquet", sink.getvalue().to_pybytes())
    assert pq.read_table(store.path("data"), filesystem=store.filesystem).equals(table)


def test_pyarrow_writes_what_the_store_lists(store: RunStore) -> None:
    store.filesystem.create_dir(store.path("data"), recursive=True)
    with store.filesystem.open_output_stream(store.path("data/x")) as stream:
        stream.write(b"bulk")
    assert store.list() == ["data/x"]
    assert store.read_bytes("data/x") == b"bulk"


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a"])
def test_paths_cannot_leave_the_run(store: RunStore, path: str) -> None:
    with pytest.raises(ValueError, match="no path inside a run"):
        store.write_bytes(path, b"x")


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("", "the run URI is ''"),
        ("http://host/run", "'http://host/run' cannot be used"),
        ("s3:/bucket/run", "'s3:/bucket/run' cannot be used"),
        ("file://host/run", "cannot be used"),
        ("s3://", "lacks a bucket"),
        ("s3://bucket/a//b", "an empty part"),
        ("s3://bucket/../other", "an empty part"),
        ("s3://bucket/run?region=x", "AWS_ENDPOINT_URL"),
        ("file:///tmp/a#b", "write %3F or %23"),
    ],
)
def test_uris_that_cannot_be_used(uri: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_local_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    same = ["my run", "./my run/", f"{tmp_path}/my run", f"file://{tmp_path}/my%20run", "~/my run"]
    stores = [open_store(uri) for uri in same]
    assert {store.uri for store in stores} == {f"{tmp_path}/my run"}
    monkeypatch.chdir("/")
    stores[0].write_bytes("a", b"x")
    assert (tmp_path / "my run" / "a").read_bytes() == b"x"


ODD_NAMES = ["Prüfung", "日本 語", "50%", "a%20b", "a#b", "a?b", "a+b", "x&y=z", "[a]", "a:b", "é́"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_run_may_have_any_name(store: RunStore, name: str) -> None:
    run = open_store(f"{store.uri}/{name}/run")
    assert run.uri == f"{store.uri}/{name}/run"
    run.write_json("a.json", {"x": 1})
    pq.write_table(pa.table({"a": [1]}), run.path("t.parquet"), filesystem=run.filesystem)
    again = open_store(run.uri)
    assert again.read_json("a.json") == {"x": 1}
    assert pq.read_table(again.path("t.parquet"), filesystem=again.filesystem).num_rows == 1
    assert again.list() == ["a.json", "t.parquet"]
    assert store.list() == [f"{name}/run/a.json", f"{name}/run/t.parquet"]


def test_s3_addresses(s3_environment: str) -> None:
    store = open_store("s3://bucket/some/run/")
    assert (store.uri, store.root) == ("s3://bucket/some/run", "bucket/some/run")
    assert store.path("a/b") == "bucket/some/run/a/b"
    assert store.address("a/b") == "s3://bucket/some/run/a/b"


def test_two_runs_in_one_bucket_do_not_meet(s3_bucket: str) -> None:
    whole, one = open_store(f"s3://{s3_bucket}"), open_store(f"s3://{s3_bucket}/one")
    other = open_store(f"s3://{s3_bucket}/one-more")
    one.write_bytes("a", b"1")
    other.write_bytes("a", b"2")
    assert one.list() == ["a"]
    assert whole.list() == ["one-more/a", "one/a"]
    assert other.read_bytes("a") == b"2"


def test_a_run_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        open_store(str(tmp_path / "file"))


def every_operation(store: RunStore, tmp_path: Path) -> list[Callable[[], object]]:
    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "f").write_text("x")
    return [
        lambda: store.read_bytes("a"),
        lambda: store.write_bytes("a", b"x"),
        lambda: store.create_bytes("a", b"x"),
        lambda: store.replace_bytes("a", b"x", "v"),
        lambda: store.exists("a"),
        lambda: store.list(),
        lambda: store.delete("a"),
        lambda: store.delete_folder("a"),
        lambda: store.upload_folder(tmp_path / "upload", "a"),
        lambda: store.download_folder("a", tmp_path / "download"),
    ]


def test_every_failure_of_a_local_store_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = open_store(str(tmp_path / "file" / "run"))
    for operation in every_operation(store, tmp_path):
        with pytest.raises(StoreError, match=r"cannot .*file/run.*give another run folder$"):
            operation()


def test_every_failure_to_connect_is_a_store_error(
    tmp_path: Path, s3_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ste_ray.store.s3._MAX_ATTEMPTS", 2)
    with socket.socket() as listener:  # bound but not listening: connections are refused
        listener.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        store = open_store("s3://bucket/run")
        for operation in every_operation(store, tmp_path):
            with pytest.raises(StoreError) as caught:
                operation()
            assert endpoint in str(caught.value)
            assert "\n" not in str(caught.value)


def test_a_missing_bucket_is_the_users_mistake(tmp_path: Path, s3_environment: str) -> None:
    store = open_store("s3://no-such-bucket/run")
    for operation in every_operation(store, tmp_path):
        with pytest.raises(ConfigError, match="there is no bucket 'no-such-bucket' at http://127"):
            operation()


def test_missing_credentials_are_the_users_mistake(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        open_store(f"s3://{s3_bucket}").read_bytes("a")


def test_an_endpoint_that_is_no_address(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL='localhost:9000' is no address"):
        open_store("s3://bucket/run")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, ConfigError),
        ("SignatureDoesNotMatch", 403, ConfigError),
        ("InvalidBucketName", 400, ConfigError),
        ("SlowDown", 503, StoreError),
        ("InternalError", 500, StoreError),
    ],
)
def test_refusals_of_the_server(
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    status: int,
    kind: type[Exception],
) -> None:
    monkeypatch.setattr("ste_ray.store.s3._MAX_ATTEMPTS", 2)
    from botocore.awsrequest import AWSResponse
    from botocore.httpsession import URLLib3Session

    class Raw:
        def stream(self) -> list[bytes]:
            text = f"<Error><Code>{code}</Code><Message>told\nso</Message></Error>"
            return [text.encode()]

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(
        URLLib3Session,
        "send",
        lambda self, request: AWSResponse(request.url, status, {}, Raw()),
    )
    store = open_store(f"s3://{s3_bucket}/run")
    with pytest.raises(kind, match=rf"{code}: told so") as caught:
        store.write_bytes("a", b"x")
    assert type(caught.value) is kind


def test_local_runs_do_not_load_boto3(tmp_path: Path) -> None:
    program = (
        "import sys; from ste_ray.store.artifacts import open_store;"
        "open_store(sys.argv[1]).write_bytes('a', b'x'); print('boto3' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_tests_cannot_leave_this_machine() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match=r"192\.0\.2\.1"):
        sock.connect(("192.0.2.1", 80))
