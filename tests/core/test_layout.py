"""The layout of a run: described whole, and spelled in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ste_ray
from ste_ray.core import layout
from tests.run_listing import COMPLETE_RUN, STAGES, described, lines_for

PACKAGE = Path(ste_ray.__file__).parent
_SPELLED = re.compile(
    # Ending in a slash is what stands before a name in an f-string; train/ also begins names of
    # figures in TensorBoard.
    rf"(?<![\w-])(?:{STAGES})/[a-z_]|(?<![\w-])(?:{STAGES.replace('train|', '')})/$"
    r"|/(?:started|models|failure|manifest|complete)\.json|/_complete\b|\block\.json"
    r"|/report\.html|\bpart-0"
)
CONSTANTS = {
    name: value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)
}
PATHS = {
    layout.started("explore"): "STAGE/started.json",
    layout.models("explore"): "STAGE/models.json",
    layout.failure("explore"): "STAGE/failure.json",
    layout.manifest("explore"): "STAGE/manifest.json",
    layout.part(layout.EPISODES, 12): "explore/episodes/part-NNNNN.parquet",
    layout.part(layout.ROWS, 0): "prepare/rows/part-NNNNN.parquet",
    layout.part(layout.round_rows(1), 0): "prepare/rounds/NN/rows/part-NNNNN.parquet",
    layout.partition_journal(layout.part_name(3)): "prepare/journal/part-NNNNN/",
    layout.partition_done(layout.part_name(3)): "prepare/done/part-NNNNN.json",
    layout.kinds_part(layout.part_name(3)): "prepare/examples/kinds-NNNNN.parquet",
    layout.part(layout.MADE_TESTS, 0): "prepare/tests/part-NNNNN.parquet",
    layout.shard("train", 0): "train/shards/SPLIT-NNNNN.parquet",
    layout.checkpoint_marker(layout.checkpoint(7)): "train/checkpoints/step-NNNNNNNN/complete.json",
    layout.checkpoint(7): "train/checkpoints/step-NNNNNNNN/",
    layout.checkpoint_marker(layout.checkpoint(7)): "train/checkpoints/step-NNNNNNNN/complete.json",
    layout.part(layout.predictions("a-b"), 0): "infer/predictions/SETTING/part-NNNNN.parquet",
    layout.predictions_marker("a-b"): "infer/predictions/SETTING/_complete",
    layout.part(layout.predictions("a-b.c"), 0): "infer/variants/SETTING/part-NNNNN.parquet",
    layout.predictions_marker("a-b.c"): "infer/variants/SETTING/_complete",
    layout.scores_of(
        layout.part(layout.predictions("a-b.c"), 0)
    ): "evaluate/variants/SETTING/part-NNNNN.parquet",
    layout.prediction_pieces("a-b"): "infer/pieces/SETTING/",
    layout.infer_journal("a-b"): "infer/journal/SETTING/",
    layout.scores_of(
        layout.part(layout.predictions("a-b"), 0)
    ): "evaluate/scores/SETTING/part-NNNNN.parquet",
    layout.round_run("replay", 0): "continual/round-NN/",
    layout.round_run("replay", 1): "continual/VARIANT/round-NN/",
}


@pytest.mark.parametrize(("path", "line"), PATHS.items())
def test_what_a_function_makes_is_described(path: str, line: str) -> None:
    """Each path is one that the docstring lists, and no other line fits it."""
    lines = lines_for(f"{path}/anything" if line.endswith("/") else path)
    assert [one for one in lines if one.endswith("/") == line.endswith("/")] == [line]


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_constant_is_described(name: str) -> None:
    """A constant is a file, or a folder with something in it, that the docstring lists."""
    path = CONSTANTS[name]
    inside = [line for line in described() if line.startswith(f"{path}/")]
    assert inside or lines_for(path) or f"{path}``" in (layout.__doc__ or "")


def test_a_complete_run_has_a_layout_that_is_described() -> None:
    """What runs hold, made by whichever version, is still where the layout says."""
    assert {line for line in COMPLETE_RUN if not re.match(rf"({STAGES})/[a-z]+\.json", line)} <= {
        *described()
    }
    for line in COMPLETE_RUN - {*described()}:
        assert lines_for(line), line


def test_scores_and_predictions_stand_beside_each_other() -> None:
    """The part of one leads to that of the other."""
    part = layout.part(layout.predictions("tuned-toolken"), 4)
    assert layout.scores_of(part) == "evaluate/scores/tuned-toolken/part-00004.parquet"
    assert layout.predictions_of(layout.scores_of(part)) == part


@pytest.mark.parametrize(
    "module",
    sorted(path for path in PACKAGE.rglob("*.py") if path.name != "layout.py"),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_other_module_spells_a_path_of_a_run(module: Path) -> None:
    """Outside of docstrings, the paths come from ``core.layout``."""
    spelled = [
        text
        for text in _texts(ast.parse(module.read_text("utf-8")))
        if _SPELLED.search(text) or text == layout.REPORT
    ]
    assert spelled == []


def test_a_spelled_path_is_found() -> None:
    """What the test before looks for, it sees, in a text and in parts of one."""
    source = '''"""Docstring: explore/tools.json."""
def f(stage):
    """Another: infer/predictions."""
    return "explore/tools.json", f"{stage}/manifest.json", f"look at prepare/ledger of {stage}"
'''
    found = [text for text in _texts(ast.parse(source)) if _SPELLED.search(text)]
    assert found == ["explore/tools.json", "/manifest.json", "look at prepare/ledger of "]


def _texts(tree: ast.Module) -> Iterator[str]:
    """Yield the string constants of a module that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield text
