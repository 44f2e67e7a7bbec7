"""The commands ``ste-ray import FORM``: runs and model folders made of what others made."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ste_ray.core.stages import DATA_STAGES
from ste_ray.errors import ToolSpecError
from ste_ray.process.output import print_result, say

if TYPE_CHECKING:
    from ste_ray.core.tool_specs import ToolSpec
    from ste_ray.stages.imports.training_data import Describe
    from ste_ray.store.manifest import StageManifest


def add_import_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``import`` and its forms."""
    importing = commands.add_parser(
        "import", help="make a run or a model folder of what others made"
    )
    forms = importing.add_subparsers(dest="import_command", required=True, metavar="FORM")
    tool_data = forms.add_parser(
        "tool-data", help="the published study's fine-tuning data: a list, or batch_N -> list"
    )
    tool_data.add_argument("source", metavar="FILE.json", help="file to read")
    tool_data.add_argument(
        "--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix"
    )
    tool_data.add_argument(
        "--descriptions",
        metavar="FILE.json",
        help="the study's API_descriptions.json, in place of what the rows say",
    )
    tool_data.add_argument("--json", action="store_true", help="print the result as JSON")
    tool_data.set_defaults(function=_import_tool_data)
    tests = forms.add_parser(
        "tests", help="a test set: the study's tool_test.json or dialog files, or JSON lines"
    )
    tests.add_argument("source", metavar="FILE", help="file to read")
    tests.add_argument("--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix")
    known = tests.add_mutually_exclusive_group()
    known.add_argument(
        "--tools", metavar="FILE", nargs="+", help="tool files, folders or names of shipped sets"
    )
    known.add_argument(
        "--descriptions", metavar="FILE.json", help="the study's API_descriptions.json"
    )
    tests.add_argument(
        "--demonstrations",
        metavar="FILE.json",
        help="calls to show in prompts, in the form of 'import tool-data'",
    )
    tests.add_argument("--json", action="store_true", help="print the result as JSON")
    tests.set_defaults(function=_import_tests)
    model = forms.add_parser(
        "model",
        help="a GGUF file, as a model folder to train",
        description="Make a model folder of a GGUF file, to train with train.model.base=FOLDER.",
    )
    model.add_argument(
        "source",
        metavar="FILE.gguf|FOLDER",
        help="file to read; or a folder or a wheel that holds one such file",
    )
    model.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="model folder to make: a new one, or an empty one",
    )
    model.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        default="float32",
        help="of the weights (default: float32)",
    )
    model.add_argument("--json", action="store_true", help="print the result as JSON")
    model.set_defaults(function=_import_model)
    run = forms.add_parser(
        "run",
        help="the data of another run, to train and test in another way on the same",
        description="Copy the finished stages of a run that make its data: tools, trials, examples,"
        " tests and what was retrieved for them. The other run is only read.",
    )
    run.add_argument("source", metavar="RUN", help="run to take them from")
    run.add_argument(
        "--run", required=True, metavar="URI", help="run to make: a folder or s3://bucket/prefix"
    )
    run.add_argument(
        "--through",
        choices=DATA_STAGES,
        default="prepare",
        help="last stage to take (default: prepare, what a training reads)",
    )
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    run.set_defaults(function=_import_run)


def _import_tool_data(options: argparse.Namespace) -> None:
    from ste_ray.stages.imports.training_data import import_tool_data
    from ste_ray.store.artifacts import open_store

    store = open_store(options.run)
    manifest = import_tool_data(store, options.source, _describe(options.descriptions), say)
    _print(store.uri, manifest, options.json)


def _import_tests(options: argparse.Namespace) -> None:
    from ste_ray.imports.test_sets import read_test_set
    from ste_ray.imports.tool_data import read_tool_data
    from ste_ray.resources import resource_folder
    from ste_ray.stages.imports.test_sets import import_tests
    from ste_ray.store.artifacts import open_store
    from ste_ray.tools.spec.files import read_tool_files

    tests = read_test_set(options.source)
    shown = read_tool_data(options.demonstrations) if options.demonstrations else None
    tools = {}
    if options.tools:
        shipped = resource_folder("tool_metadata")
        tools = dict(read_tool_files(tuple(options.tools), (), shipped=shipped).specs)
    store = open_store(options.run)
    describe = _describe(options.descriptions)
    manifest = import_tests(store, tests, shown, tools, describe, say)
    _print(store.uri, manifest, options.json)


def _import_model(options: argparse.Namespace) -> None:
    from ste_ray.imports.models import import_model

    found = import_model(options.source, options.out, options.dtype, say)
    for note in found.notes:
        say(f"note: {note}")
    name = f"{found.name}: " if found.name else ""
    positions = "unknown" if found.positions is None else f"{found.positions:,}"
    text = (
        f"{found.folder}\n"
        f"  {name}{found.architecture}, {found.parameters:,} parameters\n"
        f"  vocabulary: {found.vocabulary:,} tokens\n"
        f"  positions: {positions}\n"
        f"  weights: {found.dtype}, stored as {found.stored_types}\n"
        f"  size: {found.num_bytes / 1e6:,.1f} MB\n"
        f"train it with {shlex.quote(f'train.model.base={found.folder}')}\n"
    )
    print_result(asdict(found), text, options.json)


def _import_run(options: argparse.Namespace) -> None:
    from ste_ray.stages.imports.runs import import_run
    from ste_ray.store.artifacts import open_store

    store = open_store(options.run)
    manifests = import_run(store, open_store(options.source), options.through, say)
    stages = [one.stage for one in manifests]
    result = {"run": store.uri, "from": options.source, "stages": stages}
    print_result(result, f"{store.uri}\n  stages: {', '.join(stages)}\n", options.json)


def _describe(descriptions: str | None) -> Describe:
    """Return what describes a tool by its name and what an imported file says of it."""
    from ste_ray.tools.toolbench.study_import import (
        described_tool,
        exported_tool,
        import_descriptions,
    )

    known = {spec.name: spec for spec in import_descriptions(descriptions)} if descriptions else {}

    def describe(name: str, text: str) -> ToolSpec:
        if name in known:
            return known[name]
        if not text:
            raise ToolSpecError(f"the tool {name!r} is not described")
        return exported_tool(name, text) or described_tool(name, text)

    return describe


def _print(uri: str, manifest: StageManifest, as_json: bool) -> None:
    lines = "".join(
        f"  {name.replace('_', ' ')}: {value}\n" for name, value in manifest.counts.items() if value
    )
    result = {"run": uri, "counts": manifest.counts, "notes": list(manifest.notes)}
    print_result(result, f"{uri}\n{lines}", as_json)
