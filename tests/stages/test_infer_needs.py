"""What a native setting needs of a local model is looked at before any actor starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import parse_settings
from ste_ray.errors import ConfigError, StageInputError, ToolTemplateError
from ste_ray.stages.infer.needs import check_native
from ste_ray.store.artifacts import open_store
from tests.native_templates import HERMES, NO_TOOLS, SILENT


def save(folder: Path, template: str | None) -> None:
    backend = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def check(folder: Path, setting: str, **infer: object) -> str:
    config = Config.model_validate({"infer": {"models": {"mine": str(folder / "mine")}, **infer}})
    (parsed,) = parse_settings([setting], ["mine"])
    return check_native(open_store(str(folder)), parsed, config)


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("base/native", layout.BASE_MODEL),
        ("tuned/native_icl", layout.TUNED_MODEL),
        ("mine/native_plain", "mine"),
    ],
)
def test_the_template_of_the_model_is_looked_at(tmp_path: Path, setting: str, place: str) -> None:
    for template in (None, NO_TOOLS):  # asked by what training would make of it
        save(tmp_path / place, template)
        told = check(tmp_path, setting)
        assert told.startswith(f"{setting}: the model's chat template shows no tools; it is asked")
    save(tmp_path / place, SILENT)
    with pytest.raises(ToolTemplateError) as refused:
        check(tmp_path, setting)
    message = str(refused.value)
    assert message.startswith(f"setting {setting!r}: the ")
    assert f"{setting.partition('/')[0]}/retrieved" in message
    assert "\n" not in message
    save(tmp_path / place, HERMES)
    assert check(tmp_path, setting) == ""
    with pytest.raises(ConfigError, match="cannot bind the local model"):
        check(tmp_path, setting, tool_choice="required")
    check(tmp_path, setting, tool_choice="required", constrained=True)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(StageInputError, match="cannot load the tokenizer"):
        check(tmp_path, "mine/native")


def test_endpoints_and_texts_are_not_looked_at(tmp_path: Path) -> None:
    assert check(tmp_path, "endpoint/native", tool_choice="required") == ""
    save(tmp_path / layout.BASE_MODEL, NO_TOOLS)
    check(tmp_path, "base/icl", tool_choice="required")
