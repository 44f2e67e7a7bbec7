"""Mistakes in a command: what may have been meant is said, and a long list is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ste_ray.cli.main import parse_arguments
from ste_ray.errors import ConfigError


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("explor", "argument COMMAND: unknown 'explor' (did you mean 'explore'?); see"),
        ("zzz", "argument COMMAND: unknown 'zzz'; see 'ste-ray --help'"),
        (
            "import mdel x",
            "argument FORM: unknown 'mdel' (did you mean 'model'?); choose from tool-data, tests,"
            " model, run; see 'ste-ray import --help'",
        ),
        ("import model x --out y --dtype floot32", "(did you mean 'float32'?); choose from"),
        (
            "ask q --run r --setings=x",
            "unrecognized argument '--setings=x' (did you mean '--setting'?); see 'ste-ray ask",
        ),
        ("import tests x --run r --descripton y", "(did you mean '--descriptions'?)"),
        ("teacher --zzz", "unrecognized argument '--zzz'; see 'ste-ray teacher --help'"),
        ("explore --run r -z", "unrecognized argument '-z'"),
        ("view r b=c", "unrecognized argument 'b=c'"),
    ],
)
def test_what_may_have_been_meant_is_said(command, expected):
    with pytest.raises(ConfigError) as told:
        parse_arguments(command.split())
    assert expected in str(told.value)
    assert "evaluate" not in str(told.value)


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_nothing_else(streams):
    command = [sys.executable, "-m", "ste_ray", "config", "show", "--json"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ('"seed": 0' in done.stdout) is (">&-" not in streams.replace("2>&-", ""))
    assert done.stderr == ""


def test_overrides_may_stand_anywhere():
    options = parse_arguments(["explore", "seed=1", "--run", "r", "explore.max_turns=3", "--json"])
    assert options.overrides == ["seed=1", "explore.max_turns=3"]
    assert options.json
