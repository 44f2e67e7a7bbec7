"""Settings by name."""

from __future__ import annotations

import pytest

from ste_ray.errors import ConfigError
from ste_ray.generation.settings import ALLOWED_SETTINGS, Setting, parse_settings


def test_settings_are_parsed_in_order() -> None:
    parsed = parse_settings(["tuned/toolken", "base/icl"])
    assert parsed == [Setting("tuned", "toolken"), Setting("base", "icl")]
    assert [setting.name for setting in parsed] == ["tuned/toolken", "base/icl"]
    assert [setting.folder_name for setting in parsed] == ["tuned-toolken", "base-icl"]


@pytest.mark.parametrize("name", ["base/toolken", "tuned", "tuned/", "Base/icl", ""])
def test_unknown_setting_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_settings(["base/icl", name])
    assert repr(name) in str(raised.value)
    assert all(allowed in str(raised.value) for allowed in ALLOWED_SETTINGS)


def test_no_setting_and_a_setting_given_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="empty"):
        parse_settings([])
    with pytest.raises(ConfigError, match="'base/icl' is given twice"):
        parse_settings(["base/icl", "base/icl"])
