"""The commands ``ste-ray tests``: the tests of a run out to a file to edit, and in again."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from ste_ray.core import layout
from ste_ray.errors import StageInputError
from ste_ray.process.output import print_result


def add_tests_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``tests`` and what it does."""
    tests = commands.add_parser("tests", help="edit the tests of a run")
    actions = tests.add_subparsers(dest="tests_command", required=True, metavar="ACTION")
    export = actions.add_parser("export", help="write a run's tests as JSON lines")
    export.add_argument("--out", required=True, metavar="FILE.jsonl", help="file to write")
    export.set_defaults(function=_export)
    importing = actions.add_parser(
        "import",
        help="replace a run's tests by those in a file",
        description="Replace the tests of a prepared run by those in a file; training data stay.",
    )
    importing.add_argument("source", metavar="FILE.jsonl", help="file to read")
    importing.set_defaults(function=_import)
    for command in (export, importing):
        command.add_argument(
            "--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix"
        )
        command.add_argument("--json", action="store_true", help="print the result as JSON")


def _export(options: argparse.Namespace) -> None:
    from ste_ray.core.records import Example, TestDialog
    from ste_ray.exports.test_rows import write_test_rows
    from ste_ray.process.new_file import new_file
    from ste_ray.store.artifacts import open_store
    from ste_ray.store.manifest import read_manifest
    from ste_ray.store.tables import iter_records, parquet_files

    store = open_store(options.run)
    if read_manifest(store, "prepare") is None:
        raise StageInputError(
            f"{store.uri!r} holds no prepared data; run 'ste-ray prepare --run "
            f"{shlex.quote(store.uri)}' first"
        )
    examples = iter_records(store, layout.EXAMPLES, Example)
    dialogs = {
        one.example_id: one
        for path in parquet_files(store, layout.DIALOGS)
        for one in iter_records(store, path, TestDialog)
    }
    with new_file(options.out) as file, file.open("x", encoding="utf-8") as stream:
        counts = write_test_rows(examples, dialogs, stream)
        if not counts:
            raise StageInputError(
                f"{store.uri!r} has no tests; set prepare.test_fraction or prepare.tests, in "
                "another run"
            )
    _print({"file": options.out}, options.out, counts, options.json)


def _import(options: argparse.Namespace) -> None:
    from ste_ray.imports.test_sets import read_test_set
    from ste_ray.stages.base import read_specs
    from ste_ray.stages.imports.edited_tests import import_edited_tests
    from ste_ray.store.artifacts import open_store

    tests = read_test_set(options.source)
    store = open_store(options.run)
    if not store.exists(layout.TOOLS):
        raise StageInputError(
            f"there is no run at {store.uri!r}; make one of a test set alone by 'ste-ray import "
            f"tests {shlex.quote(options.source)} --run {shlex.quote(store.uri)} --tools FILE'"
        )
    counts = import_edited_tests(store, tests, read_specs(store))
    _print({"run": store.uri}, store.uri, counts, options.json)


def _print(result: dict[str, Any], title: str, counts: dict[str, int], as_json: bool) -> None:
    lines = "".join(f"  {name.replace('_', ' ')}: {number}\n" for name, number in counts.items())
    tests = {name.replace(" ", "_"): number for name, number in counts.items()}
    print_result({**result, "tests": tests}, f"{title}\n{lines}", as_json)
