"""Fingerprints of stages do not change: whoever has a run can go on with it."""

import pytest

from ste_ray.config import load_config
from ste_ray.core.stages import STAGES
from ste_ray.resources import resource_folder

# By the configuration as it was before keys were dropped and renamed.
PINNED = {
    "": {
        "explore": "caa3c0b7bad7b3c1",
        "prepare": "dc5b2e2d81cc8cca",
        "retrieve": "25f439fb9abbfe42",
        "train": "31b142afa0b48d92",
        "infer": "c08b9e060df83c8a",
        "evaluate": "64659dba4ca6917a",
        "continual": "2c279b9adbb46306",
    },
    "demo.yaml": {
        "explore": "7d10046c0539f9e6",
        "prepare": "7fbaa557c1340ee1",
        "retrieve": "10a6de52aac01900",
        "train": "1b3b2313e6aef42e",
        "infer": "6f5c7b503b246f5f",
        "evaluate": "6e94ad41c1446134",
        "continual": "a00e0759d17a1fe4",
    },
    "demo_from_scratch.yaml": {
        "explore": "7d10046c0539f9e6",
        "prepare": "cac330c58cf2c6fc",
        "retrieve": "6050ca052bc202de",
        "train": "fb5d1d182e8bba27",
        "infer": "b2962c1cd78d1832",
        "evaluate": "6e94ad41c1446134",
        "continual": "836edaa10ae8341b",
    },
    "smollm2.yaml": {
        "explore": "044dd45c65698ddf",
        "prepare": "ca32351e502a23ee",
        "retrieve": "6050ca052bc202de",
        "train": "6f98f088f2b9029d",
        "infer": "b2962c1cd78d1832",
        "evaluate": "6e94ad41c1446134",
        "continual": "38034989972b6a75",
    },
    "study.yaml": {
        "explore": "caa3c0b7bad7b3c1",
        "prepare": "9aac3b1c5713c8aa",
        "retrieve": "25f439fb9abbfe42",
        "train": "31b142afa0b48d92",
        "infer": "c08b9e060df83c8a",
        "evaluate": "64659dba4ca6917a",
        "continual": "2c279b9adbb46306",
    },
    "tiny.yaml": {
        "explore": "caa3c0b7bad7b3c1",
        "prepare": "dc5b2e2d81cc8cca",
        "retrieve": "25f439fb9abbfe42",
        "train": "da59c412a8075ad7",
        "infer": "c7f1fa4818486084",
        "evaluate": "64659dba4ca6917a",
        "continual": "31e30bc938675a45",
    },
}
RENAMED = {"prepare": "e6148f43dd2a3d0e", "train": "07e1c264f24baeb1", "infer": "635ead53634bea26"}


def prints(file=None, overrides=()):
    config = load_config(file, overrides)
    return {stage: config.stage_fingerprint(stage) for stage in (*STAGES, "continual")}


def test_the_shipped_configurations_are_all_pinned():
    assert {path.name for path in resource_folder("jobs").glob("*.yaml")} == PINNED.keys() - {""}


@pytest.mark.parametrize("name", PINNED)
def test_fingerprints_are_those_of_earlier_runs(name):
    file = str(resource_folder("jobs") / name) if name else None
    assert prints(file) == PINNED[name]


def test_renamed_keys_count_as_they_did():
    changed = ["trust_remote_code=true", "prepare.drop=[simulated, invalid_arguments]"]
    expected = {**PINNED[""], **RENAMED, "continual": "441d1c2a90dc283f"}
    assert prints(overrides=changed) == expected


def test_the_share_of_final_answers_counts_where_there_is_one():
    assert prints(overrides=["prepare.response_fraction=1"]) == PINNED[""]
    assert prints(overrides=["prepare.response_fraction=0.5"])["prepare"] != PINNED[""]["prepare"]
    none, share = "prepare.tool_responses=false", "prepare.response_fraction=0.5"
    assert prints(overrides=[none, share]) == prints(overrides=[none])
