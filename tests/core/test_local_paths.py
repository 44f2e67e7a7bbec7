import pytest

from ste_ray.core.texts.local_paths import is_local, public_name, without_paths


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("rows of '/home/ann/data/flan.json' were odd", "rows of 'flan.json' were odd"),
        ("see ~/data/x.json, or file:///data/y/z.", "see x.json, or z."),
        ("in /home/ann/runs/", "in …"),
        ("yes and/or no, s3://bucket/runs/mine, https://a.b/c/d", None),
        ("models/gpt-4o and org/name-7b, <tool_x>, </s>", None),
    ],
)  # fmt: skip
def test_paths_of_this_machine_are_taken_out(text, kept):
    assert without_paths(text) == (text if kept is None else kept)


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("/models/my-base/", "my-base"),
        ("./my-base", "my-base"),
        ("~/models/x", "x"),
        ("file:///models/x", "x"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("s3://bucket/run/train/model", "s3://bucket/run/train/model"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_a_models_name_is_no_path(name, public):
    assert public_name(name) == public


def test_which_runs_are_local():
    assert [is_local(uri) for uri in ("/runs/a", "runs/a", "file:///a", "s3://b/a")] == [
        *[True] * 3,
        False,
    ]
