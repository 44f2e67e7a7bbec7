"""A storage over TLS with a certificate of the user's own: both clients trust it, or neither."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ste_ray.errors import ConfigError
from ste_ray.store.artifacts import open_store
from ste_ray.store.checking import check_storage
from ste_ray.store.s3 import S3Settings
from ste_ray.store.trust import CA_VARIABLES, trusted_ca_file
from tests.certificates import Certificate, self_signed

pytest.importorskip("cryptography.x509")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The files of a certificate for loopback, and of its key with it."""
    return self_signed(tmp_path_factory.mktemp("tls"), "127.0.0.1", authority=True)


@pytest.fixture(scope="module")
def storage(authority: tuple[Path, Path]) -> Iterator[str]:
    """The address of an S3-compatible server over TLS."""
    server_module = pytest.importorskip("moto.server")
    from werkzeug.serving import make_server

    app = server_module.DomainDispatcherApplication(server_module.create_backend_app)
    both = str(authority[1])
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(both, both))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def environment(storage: str, private_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", storage)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return f"s3://test-{uuid.uuid4().hex[:12]}/run"


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_both_clients_trust_the_file_that_is_named(
    environment: str, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority[0]))
    store = open_store(environment)
    assert check_storage(store, create=True).bucket_created
    store.write_json("a.json", {"x": 1})
    pq.write_table(pa.table({"a": [1]}), store.path("t.parquet"), filesystem=store.filesystem)
    table = pq.read_table(store.path("t.parquet"), filesystem=store.filesystem)
    assert table.to_pylist() == [{"a": 1}]
    assert store.list() == ["a.json", "t.parquet"]


def test_both_clients_trust_what_a_profile_names(
    environment: str, authority: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(f"[profile mine]\nca_bundle = {authority[0]}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert check_storage(open_store(environment), create=True).bucket_created


def test_a_certificate_of_nobody_s_is_named_with_the_remedy(environment: str) -> None:
    with pytest.raises(ConfigError, match=r"boto3 does not trust.*set AWS_CA_BUNDLE"):
        check_storage(open_store(environment))


def test_the_client_that_fails_is_named(
    environment: str, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority[0]))
    store = open_store(environment)
    check_storage(store, create=True)
    settings = S3Settings.from_environment()

    def distrusting(self: S3Settings) -> pafs.FileSystem:
        host = str(settings.endpoint).removeprefix("https://")
        retries = pafs.AwsStandardS3RetryStrategy(max_attempts=1)
        return pafs.S3FileSystem(endpoint_override=host, retry_strategy=retries, region="us-east-1")

    monkeypatch.setattr(S3Settings, "filesystem", distrusting)
    with pytest.raises(ConfigError, match=r"pyarrow, which moves the tables.*although boto3 can"):
        check_storage(open_store(environment))


def test_what_the_environment_names_must_be_a_file(tmp_path: Path) -> None:
    names: dict[str, Any] = {"AWS_CA_BUNDLE": str(tmp_path)}
    with pytest.raises(ConfigError, match="is a folder"):
        trusted_ca_file(names)
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE='gone\.pem' does not exist"):
        trusted_ca_file({"SSL_CERT_FILE": "gone.pem"})
    (tmp_path / "a.pem").write_text("x")
    first = {"AWS_CA_BUNDLE": str(tmp_path / "a.pem"), "SSL_CERT_FILE": "gone.pem"}
    assert trusted_ca_file(first) == str(tmp_path / "a.pem")
