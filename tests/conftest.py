"""Fixtures that all tests share: no network, a private home, local S3 and a local Ray."""

from __future__ import annotations

import errno
import io
import ipaddress
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from ste_ray.stages.cluster.connect import ray_connection
from ste_ray.store.artifacts import RunStore, open_store
from tests.gcs_server import Bucket, gcs_server

# Machines that run tests are shared: the time of one example says nothing about the code.
hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections beyond this machine, as a machine without a network would."""
    if request.node.get_closest_marker("net"):
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if _leaves_this_machine(self, address):
            raise OSError(errno.ENETUNREACH, f"tests may not connect to {address!r}; mark it net")
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if _leaves_this_machine(self, address):
            return errno.ENETUNREACH
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


def _leaves_this_machine(sock: socket.socket, address: Any) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host = address[0]
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host not in ("", "localhost", socket.gethostname())
    return not (parsed.is_loopback or parsed.is_unspecified or host in _own_addresses())


def _own_addresses() -> frozenset[str]:
    # Ray binds to the machine's own address, which never leaves it either.
    interfaces = psutil.net_if_addrs().values()
    return frozenset(address.address for addresses in interfaces for address in addresses)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests talk to this machine; a proxy of whoever runs them must not stand between."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, without settings or credentials of whoever runs it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return home


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3-compatible server on this machine; sets nothing in the environment."""
    with s3_server("127.0.0.1") as address:
        yield address


@contextmanager
def s3_server(ip_address: str) -> Iterator[str]:
    """An S3-compatible server at an address of this machine."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address=ip_address, port=0, verbose=False)
    server.start()
    # The server looks at a condition and writes in two steps; S3 does both in one.
    app, one_at_a_time = server._server.app, threading.Lock()

    def serialised(environ: Any, start_response: Any) -> list[bytes]:
        # Read before it is its turn: one that dies while it sends must not hold up the others.
        if length := int(environ.get("CONTENT_LENGTH") or 0):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with one_at_a_time:
            return list(app(environ, start_response))

    server._server.app = serialised
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_environment(s3_endpoint: str, private_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the AWS variables at the local server and return its address."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return s3_endpoint


@pytest.fixture
def s3_bucket(s3_environment: str) -> str:
    """The name of an empty bucket of the test's own, with the environment set up for it."""
    import boto3

    name = f"test-{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3", endpoint_url=s3_environment, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def gcs_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket of a stand-in for Google Cloud Storage, with the environment set up for it.

    A token is always given: without one, obstore would ask the address of a cloud's own machines.
    """
    pytest.importorskip("obstore")
    for name in [name for name in os.environ if name.startswith("GOOGLE_")]:
        monkeypatch.delenv(name)
    with gcs_server() as (address, bucket):
        monkeypatch.setenv("GOOGLE_BASE_URL", address)
        monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "nobody")
        yield bucket


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    """An empty run, once in a local folder and once in S3."""
    if request.param == "local":
        return open_store(str(tmp_path / "run"))
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/runs/one")


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A connected Ray that this test run started and ends."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    patch.delenv("RAY_ADDRESS", raising=False)
    patch.setenv("RAY_AUTH_MODE", "disabled")
    with ray_connection():
        yield
    patch.undo()
