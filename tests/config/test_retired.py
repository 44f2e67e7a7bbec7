"""Keys of former versions: each is refused by a sentence that says what has become of it."""

import re

import pytest

from ste_ray.cli.main import main
from ste_ray.config import Config, load_config
from ste_ray.config.root import config_keys, sections
from ste_ray.errors import ConfigError

RETIRED = [
    (f"{path}.{name}".lstrip("."), text)
    for path, section in sections()
    for name, text in section.retired.items()
]
KEYS = {key for key, _ in config_keys()}


@pytest.mark.parametrize(("key", "text"), RETIRED, ids=[key for key, _ in RETIRED])
def test_a_retired_key_names_its_successor_or_why_it_went(key, text, tmp_path):
    assert key not in KEYS
    assert re.match("is now |was dropped: ", text)
    successors = re.findall("'([a-z_.]+)'", text)
    assert KEYS.issuperset(successors)
    assert successors or "was dropped: " in text
    with pytest.raises(ConfigError) as by_override:
        load_config(None, [f"{key}=1"])
    assert str(by_override.value) == f"configuration: '{key}' {text}"
    section, _, name = key.rpartition(".")
    nested = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(section.split(".")))
    file = tmp_path / "run.yaml"
    file.write_text(f"{nested}{'  ' * key.count('.')}{name}: 1\n")
    with pytest.raises(ConfigError) as by_file:
        load_config(str(file))
    assert str(by_file.value) == f"configuration '{file}': '{key}' {text}"


def test_keys_that_went_are_among_them():
    gone = {"explore.flush_seconds", "infer.trust_remote_code", "llm.breaker_failures"}
    assert {key for key, _ in RETIRED} >= gone


def test_a_retired_key_is_the_users_mistake(capsys):
    assert main(["explore", "--run", "nowhere", "explore.flush_seconds=1"]) == 2
    assert "'explore.flush_seconds' is now 'flush_seconds'" in capsys.readouterr().err


def test_what_was_settled_is_no_key_any_more():
    for path, section in sections():
        assert not section.settled.keys() & section.model_fields.keys(), path
        assert section.settled.keys() <= section.retired.keys(), path
    assert Config().prepare.result_fields()["near_duplicate_similarity"] == 0.7
