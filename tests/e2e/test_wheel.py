"""What an installed wheel holds: prompts, tool metadata, job scripts and templates."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.net
def test_the_wheel_ships_all_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".venv", ".git", "runs", "*cache*", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path)]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=280)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("prompts", "tool_metadata", "jobs"):
        for file in (ROOT / folder).rglob("*.*"):
            if "__pycache__" not in file.parts:
                assert f"ste_ray/_data/{folder}/{file.relative_to(ROOT / folder)}" in names
    for template in (ROOT / "ste_ray/report/templates").iterdir():
        assert f"ste_ray/report/templates/{template.name}" in names
