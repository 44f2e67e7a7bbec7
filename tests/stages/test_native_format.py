"""What a training in the native form means for the stages after it, and for who is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from ste_ray.config import Config, load_config
from ste_ray.core import layout
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.errors import ConfigError
from ste_ray.stages.ask.recorded import default_setting, possible_settings
from ste_ray.stages.base import StageContext
from ste_ray.stages.inputs import check_format, input_fingerprints
from ste_ray.stages.running import check_stages
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import declare_stage

NATIVE = "train.format=native"


@pytest.mark.parametrize(
    ("stages", "key"),
    [
        (("train", "infer", "evaluate"), "infer.settings"),
        (("continual",), "continual.setting"),
    ],
)
def test_settings_with_toolkens_are_refused_before_a_native_training(
    tmp_path: Path, stages: tuple[str, ...], key: str
) -> None:
    context = StageContext(load_config(None, [NATIVE]), open_store(str(tmp_path)), print)
    with pytest.raises(ConfigError, match=f"^{key} asks 'tuned/toolken', and train.format='nat"):
        check_stages(stages, context)
    check_format(stages, load_config(None, []))
    other = ["infer.settings=[tuned/native]", "continual.setting=tuned/native"]
    check_format(stages, load_config(None, [NATIVE, *other]))
    check_format(("train",), load_config(None, [NATIVE]))


def test_the_native_prompt_counts_where_rows_hold_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    declare_stage(store, "prepare", {}, {}, started_at=0.0)
    for stage in ("train", "continual"):
        prints = [
            input_fingerprints(stage, StageContext(load_config(None, given), store, print))
            for given in ([], [NATIVE])
        ]
        assert prints[1].keys() - prints[0].keys() == {"native_prompts"}


def test_a_natively_trained_model_is_asked_natively(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write_json(f"{layout.TUNED_MODEL}/config.json", {})
    assert default_setting(store)[0] == "tuned/retrieved"
    store.write_json(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}", {"tools": {"a": 1}, "retired": []})
    assert default_setting(store)[0] == "tuned/toolken"
    config = load_config(None, [NATIVE])
    declare_stage(store, "train", config.stage_fields("train"), {}, started_at=0.0)
    assert default_setting(store)[0] == "tuned/native"  # the base may have had toolkens
    config = Config.model_validate({"retrieve": {"num_demonstrations": 0}})
    prompts = ("plain", "retrieved", "icl", "native_plain", "native_icl")
    own = ["tuned/native", "tuned/toolken", *(f"tuned/{one}" for one in prompts)]
    endpoint = [f"endpoint/{one}" for one in ("plain", "retrieved", "icl", "native")]
    assert possible_settings(store, config) == [
        *own,
        *endpoint,
        "endpoint/native_plain",
        "endpoint/native_icl",
    ]
    # Without examples nothing can be demonstrated.
    assert not any(one.endswith("icl") for one in possible_settings(store, Config()))
