"""The command ``ste-ray import tool-data``: a run made of the published study's training data."""

from __future__ import annotations

import argparse
from typing import Any

from ste_ray.errors import ToolSpecError
from ste_ray.output import print_result, say


def add_import_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``import`` and its forms."""
    importing = commands.add_parser("import", help="make a run of data that others made")
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


def _import_tool_data(options: argparse.Namespace) -> None:
    from ste_ray.core.records import ToolSpec
    from ste_ray.stages.import_data import import_tool_data
    from ste_ray.store.artifacts import open_store
    from ste_ray.tools.toolbench.study_import import (
        described_tool,
        exported_tool,
        import_descriptions,
    )

    known: dict[str, ToolSpec] = {}
    if options.descriptions:
        known = {spec.name: spec for spec in import_descriptions(options.descriptions)}

    def describe(name: str, text: str) -> ToolSpec:
        if name in known:
            return known[name]
        if not text:
            raise ToolSpecError(f"the tool {name!r} is not described")
        return exported_tool(name, text) or described_tool(name, text)

    store = open_store(options.run)
    manifest = import_tool_data(store, options.source, describe, say)
    lines = "".join(
        f"  {name.replace('_', ' ')}: {value}\n" for name, value in manifest.counts.items() if value
    )
    print_result(
        {"run": store.uri, "counts": manifest.counts, "notes": list(manifest.notes)},
        f"{store.uri}\n{lines}",
        options.json,
    )
