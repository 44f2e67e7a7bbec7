"""Libraries are used by what they offer: names that a library keeps to itself change unseen."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "ste_ray"
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))
}
# Documented, underscore and all; and a type that has no other name for annotations.
PUBLIC = {"_exit", "_replace", "_make", "_fields", "_asdict", "_SubParsersAction"}
UNDOCUMENTED = {"c_make_encoder", "c_encode_basestring"}
# Where nothing public does it; each module says why.
EXCEPTIONS = {
    "stages/cluster/ray_internals.py": {"_private", "_internal", "_internal_kv_get"},
    "training/attention.py": {"_is_stateful"},
    "process/stopping.py": {"_thread"},  # which the library's documentation describes
}


def is_private(name):
    return (name.startswith("_") and not name.startswith("__")) or name in UNDOCUMENTED


def is_own_object(node):
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def bound(tree):
    """The names that a module binds: functions, classes, variables, fields of its objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and is_own_object(node.value)
        ):
            yield node.attr


def used(tree, *, of_own_objects):
    """The names that a module looks up, on ``self`` and ``cls`` or elsewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if is_own_object(node.value) == of_own_objects:
                yield node.attr
        elif of_own_objects:
            continue
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr"}:
            yield from (text.value for text in node.args[1:2] if isinstance(text, ast.Constant))


BOUND = {module: set(bound(tree)) for module, tree in TREES.items()}
BOUND_ANYWHERE = set().union(*BOUND.values())  # what a class inherits is bound in another module


@pytest.mark.parametrize("module", TREES)
def test_no_module_reaches_into_a_library(module):
    tree = TREES[module]
    elsewhere = set(used(tree, of_own_objects=False)) - BOUND[module]
    inherited = set(used(tree, of_own_objects=True)) - BOUND_ANYWHERE
    private = {name for name in elsewhere | inherited if is_private(name)} - PUBLIC
    assert private == EXCEPTIONS.get(module, set())
