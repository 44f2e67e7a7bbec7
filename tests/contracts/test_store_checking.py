"""``ste-ray store check``: storages that keep conditions, those that do not, buckets made ready."""

from __future__ import annotations

import socket
import uuid
from typing import Any

import boto3
import pytest

from ste_ray.errors import ConfigError, StoreError
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.checking import check_storage
from ste_ray.store.lock import require_epoch


def test_a_storage_that_keeps_conditions_is_fit_and_left_as_it_was(store: RunStore) -> None:
    store.write_bytes("kept.json", b"{}")
    found = check_storage(store)
    assert found.uri == store.uri
    assert not found.bucket_created
    assert store.list() == ["kept.json"]


@pytest.mark.parametrize("method", ["create_bytes", "replace_bytes"])
def test_a_storage_that_ignores_conditions_is_refused(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def ignoring(self: RunStore, path: str, data: bytes, version: str = "") -> bool:
        self.write_bytes(path, data)
        return True

    monkeypatch.setattr(RunStore, method, ignoring)
    with pytest.raises(ConfigError, match="ignores the conditions of writes"):
        check_storage(store)
    assert store.list() == []


def test_a_missing_bucket_is_made_once_with_its_rule(s3_environment: str) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    store = open_store(f"s3://{name}/runs/one")
    with pytest.raises(
        ConfigError, match=rf"no bucket .*'ste-ray store check s3://{name} --create'"
    ):
        check_storage(store)
    first, second = check_storage(store, create=True), check_storage(store, create=True)
    assert (first.bucket_created, first.upload_rule) == (True, "set")
    assert (second.bucket_created, second.upload_rule) == (False, "there")


def test_a_place_where_no_folder_can_be_made_is_named() -> None:
    with pytest.raises(StoreError, match=r"'/proc/none/.*no folder can be made there"):
        check_storage(open_store("/proc/none"))


RULE: dict[str, Any] = {
    "ID": "mine",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ({}, "there", "there"),
        ({"Status": "Disabled"}, "none", "set"),
        ({"Filter": {"Prefix": "elsewhere/"}}, "none", "set"),
    ],
)
def test_rules_that_do_not_apply_do_not_count(
    s3_bucket: str, change: dict[str, Any], before: str, after: str
) -> None:
    client = boto3.client("s3")
    client.put_bucket_lifecycle_configuration(
        Bucket=s3_bucket, LifecycleConfiguration={"Rules": [RULE | change]}
    )
    store = open_store(f"s3://{s3_bucket}")
    assert check_storage(store).upload_rule == before
    assert check_storage(store, create=True).upload_rule == after
    rules = client.get_bucket_lifecycle_configuration(Bucket=s3_bucket)["Rules"]
    assert "mine" in [rule["ID"] for rule in rules]  # what was there stays


def test_uploads_that_nobody_finished_are_counted(s3_bucket: str) -> None:
    boto3.client("s3").create_multipart_upload(Bucket=s3_bucket, Key="half")
    assert check_storage(open_store(f"s3://{s3_bucket}/run")).unfinished_uploads == 1


def test_a_node_that_does_not_see_the_folder_of_a_run_says_so(tmp_path: Any) -> None:
    store = open_store(str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match=r"does not share with the others; give s3://") as caught:
        require_epoch(store, 1)
    assert socket.gethostname() in str(caught.value)
