"""One local Ray for all tests of this folder, in a private home and temporary folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ste_ray.stages.connect import ray_connection


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
