"""Runs in Google Cloud Storage: the suites of all storages, against a stand-in of our own."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import pytest

from ste_ray.errors import ConfigError, StoreError
from ste_ray.store.artifacts import RunStore, open_store
from tests.contracts import test_store_artifacts, test_store_lock
from tests.gcs_server import Bucket

# Tables are read and written by pyarrow, whose own client the stand-in does not understand.
BY_PYARROW = {
    "test_a_store_can_be_pickled",
    "test_pyarrow_reads_what_the_store_wrote",
    "test_pyarrow_writes_what_the_store_lists",
    "test_a_run_may_have_any_name",
}


def takes_a_store(name: str, case: object) -> bool:
    """Whether something of a module is a test of any storage that fits this one."""
    if not name.startswith("test_") or name in BY_PYARROW:
        return False
    return "store" in inspect.signature(case).parameters  # type: ignore[arg-type]


for suite in (test_store_artifacts, test_store_lock):
    globals().update({k: case for k, case in vars(suite).items() if takes_a_store(k, case)})
_by_the_hosts_clocks = test_store_lock._by_the_hosts_clocks


@pytest.fixture
def store(gcs_bucket: Bucket) -> RunStore:
    """An empty run in the stand-in's bucket."""
    return open_store("gs://bucket/runs/one")


def test_a_version_is_a_generation(store: RunStore, gcs_bucket: Bucket) -> None:
    store.write_bytes("a", b"one")
    data, version = store.read_versioned("a")
    assert (data, version) == (b"one", str(gcs_bucket.objects["runs/one/a"].generation))


def test_learning_the_time_leaves_nothing_behind(store: RunStore, gcs_bucket: Bucket) -> None:
    store.write_bytes("a", b"one")
    assert store.age("a") is not None
    assert list(gcs_bucket.objects) == ["runs/one/a"]


def test_a_large_file_goes_up_in_parts(store: RunStore, gcs_bucket: Bucket, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    content = bytes(range(256)) * (20 * 2**20 // 256)
    (source / "weights").write_bytes(content)
    store.upload_folder(source, "train/model")
    assert gcs_bucket.parts_received == 3
    assert gcs_bucket.uploads == {}
    store.download_folder("train/model", back)
    assert (back / "weights").read_bytes() == content


def test_a_bucket_that_is_not_there_is_the_users_mistake(store: RunStore) -> None:
    with pytest.raises(ConfigError, match="there is no bucket 'other'"):
        open_store("gs://other/run").read_bytes("a")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_the_users_mistake(store: RunStore, gcs_bucket: Bucket, status: int) -> None:
    gcs_bucket.refuse_with = status
    with pytest.raises(ConfigError, match=r"cannot write .*/one/a'.*permissions"):
        store.write_bytes("a", b"one")


def test_a_failure_of_the_storage_can_be_tried_again(store: RunStore, gcs_bucket: Bucket) -> None:
    gcs_bucket.refuse_with = 400
    with pytest.raises(StoreError, match=r"cannot read .*/one/a'.*run it again"):
        store.read_bytes("a")


def test_what_is_missing_for_google_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'ste-ray\[gcs\]'"):
        open_store("gs://bucket/run").read_bytes("a")
