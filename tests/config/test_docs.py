"""Every key says what it does, and ``docs/configuration.md`` says the same."""

import re
from pathlib import Path

import pytest

from ste_ray.config.docs import page
from ste_ray.config.root import config_keys

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_sections_say():
    assert PAGE.read_text(encoding="utf-8") == page(), "it is stale: run 'make docs'"


KEYS = [pytest.param(key, field, id=key) for key, field in config_keys()]


@pytest.mark.parametrize(("key", "field"), KEYS)
def test_every_key_is_described_in_one_line(key, field):
    assert re.fullmatch(r"[A-Za-z0-9][^\n|]{10,}\.", field.description or "")
    if field.default in ("", (), None):
        assert ("null: " if field.default is None else "empty: ") in field.description


def test_every_key_has_a_row():
    rows = set(re.findall(r"^\| `([a-zA-Z_.]+)` \|", page(), re.MULTILINE))
    roles = "explorer|judge|paraphraser|assistant|scorer|tool_simulator"
    keys = {re.sub(rf"^llm\.({roles})\.", "llm.ROLE.", key) for key, _ in config_keys()}
    assert rows - keys == {
        f"llm.prices.NAME.{name}" for name in ("input_usd", "output_usd", "cached_input_usd")
    }
    assert keys <= rows


def test_a_row_tells_values_default_and_whether_it_changes_results():
    text = page()
    assert "| `explore.max_turns` | whole number, ≥ 1 | `4` | " in text
    assert '| `train.precision` | `auto`, `fp32`, `mixed`, `bf16` | `"auto"` | ' in text
    assert "| `budget.max_usd` | number or `null`, ≥ 0 | `null` | " in text
    assert '| `tools.files` | list of texts | `["builtin"]` | ' in text
    assert re.search(r"^\| `explore.max_turns` .* \| yes \|$", text, re.MULTILINE)
    assert re.search(r"^\| `explore.num_explorers` .* \| no \|$", text, re.MULTILINE)
    assert "| explore.flush_seconds | is now `flush_seconds`, one for all stages |" in text
