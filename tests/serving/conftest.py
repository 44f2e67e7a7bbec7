"""Models that tests of serving share; each is loaded once, as it is served."""

from __future__ import annotations

import pytest

from tests.served_model import save_served_model, save_toolken_model
from tests.serving.in_process import opened


@pytest.fixture(scope="session")
def toolken_folder(tmp_path_factory):
    return save_toolken_model(tmp_path_factory.mktemp("toolken"))


@pytest.fixture(scope="session")
def toolken_model(toolken_folder):
    with opened(toolken_folder) as model:
        yield model


@pytest.fixture(scope="session")
def native_model(tmp_path_factory):
    with opened(save_served_model(tmp_path_factory.mktemp("native"))) as model:
        yield model
