"""What the demo says of the report at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.stages import demo


@pytest.mark.parametrize("written", [True, False])
def test_the_demo_names_the_report_only_if_it_is_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    written: bool,
) -> None:
    monkeypatch.setattr(demo, "run_demo", lambda *_: [])
    report = tmp_path / layout.REPORT
    if written:
        report.write_text("a page")
    assert main(["demo", "--from-scratch", "--run", str(tmp_path)]) == 0
    said = f"report: {report}" if written else "report: not written"
    assert capsys.readouterr().out.rstrip().endswith(said)
