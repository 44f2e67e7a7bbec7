"""The commands about tools: ``ste-ray tools list | show | call | check | diff | import``.

What runs imports the rest only then, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ste_ray.cli.tools_diff import add_diff_command
from ste_ray.errors import ToolSpecError, UserError
from ste_ray.process.output import print_result, say

if TYPE_CHECKING:
    from ste_ray.config import Config

_SOURCES = {
    "mcp": ("an mcpServers file", "MCPSERVERS.json"),
    "openapi": ("an OpenAPI 3.0 or 3.1 document", "file or URL"),
    "python": ("functions with type hints and docstrings", "package.module or module:function"),
    "toolbench": ("ToolBench's tool files, or the published study's", "file or folder"),
    "study": ("API_descriptions.json of the published study", "file, or the folder it is in"),
}


_OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)+=")


def add_tools_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``tools`` and what it can do."""
    tools = commands.add_parser("tools", help="list, show, call, check, compare and import tools")
    actions = tools.add_subparsers(dest="tools_command", required=True, metavar="COMMAND")
    listing = actions.add_parser("list", help="the tools by family, with kind and effect")
    _add_selection(listing, files=True)
    listing.set_defaults(function=_list)
    showing = actions.add_parser("show", help="all about one tool")
    showing.add_argument("name", metavar="NAME")
    _add_selection(showing)
    showing.set_defaults(function=_show)
    calling = actions.add_parser("call", help="call a tool once")
    calling.add_argument("name", metavar="NAME")
    calling.add_argument("arguments", metavar="JSON", nargs="?", default="{}")
    calling.add_argument(
        "--allow", action="store_true", help="call it although it may change something"
    )
    calling.add_argument("--dry-run", action="store_true", help="only show what would be done")
    _add_selection(calling)
    calling.set_defaults(function=_call)
    checking = actions.add_parser("check", help="call each tool's examples")
    _add_selection(checking, files=True)
    checking.set_defaults(function=_check)
    add_diff_command(actions)
    _add_import(actions)


def _add_selection(command: argparse.ArgumentParser, files: bool = False) -> None:
    if files:
        command.add_argument(
            "files", metavar="FILE", nargs="*", help="tool files; default: tools.files"
        )
    command.add_argument(
        "--file", action="append", default=[], metavar="FILE", dest="more_files", help="a tool file"
    )
    command.add_argument("--config", metavar="FILE.yaml", help="configuration; see jobs/*.yaml")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(overrides=[])


def _add_import(actions: argparse._SubParsersAction[Any]) -> None:
    importing = actions.add_parser("import", help="make a tool file of what you have")
    kinds = importing.add_subparsers(dest="source_kind", required=True, metavar="KIND")
    for kind, (what, source) in _SOURCES.items():
        command = kinds.add_parser(kind, help=what)
        command.add_argument("source", metavar="SOURCE", help=source)
        command.add_argument(
            "--out", required=True, metavar="FILE.yaml", help="tool file to write, or FILE.json"
        )
        command.add_argument(
            "--allow-unknown",
            action="store_true",
            help="allow tools of unknown effect to be called, without confirming each",
        )
        command.add_argument(
            "--allow-host",
            action="append",
            default=[],
            metavar="HOST",
            help="a private host, host:port or network that the tools may reach",
        )
        command.add_argument(
            "--force", action="store_true", help="replace the file, whatever was written into it"
        )
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(function=_import)
        if kind == "openapi":
            command.add_argument("--base-url", default="", help="call this server instead")
            command.add_argument("--tag", action="append", default=[], help="only such operations")
            command.add_argument("--prefix", default="", help="put before each tool's name")
        if kind == "toolbench":
            command.add_argument(
                "--as",
                dest="as_kind",
                choices=["toolbench", "rapidapi", "simulated"],
                default="toolbench",
                help="call ToolBench's server, RapidAPI, or have a model play the tools",
            )


def _config(options: argparse.Namespace) -> Config:
    """Return the configuration, with the files that the command names in place of its own."""
    from ste_ray.config import load_config

    given = [*getattr(options, "files", []), *options.more_files]
    overrides = [one for one in given if _OVERRIDE.match(one)]
    files = [one for one in given if one not in overrides]
    config = load_config(options.config, [*options.overrides, *overrides])
    if not files:
        return config
    return config.model_copy(
        update={"tools": config.tools.model_copy(update={"files": tuple(files)})}
    )


def _read(options: argparse.Namespace) -> tuple[Config, Any]:
    from ste_ray.core.schemas.own_keywords import keyword_notes
    from ste_ray.resources import resource_folder
    from ste_ray.tools.spec.files import read_tool_files

    config = _config(options)
    shipped = resource_folder("tool_metadata")
    files = read_tool_files(config.tools.files, config.tools.include, shipped=shipped)
    for spec in files.specs.values():
        for note in keyword_notes(spec.parameters):
            say(f"{spec.name}: {note}")
    hosts = (*config.tools.allow_hosts, *files.allow_hosts)
    section = config.tools.model_copy(update={"allow_hosts": hosts})
    return config.model_copy(update={"tools": section}), files


def _list(options: argparse.Namespace) -> None:
    from ste_ray.tools.catalogue import as_table, catalogue

    config, files = _read(options)
    rows = catalogue(files, config.tools)
    print_result([asdict(row) for row in rows], as_table(rows), options.json)


def _show(options: argparse.Namespace) -> None:
    from ste_ray.tools.catalogue import as_text, find

    _, files = _read(options)
    spec = find(files.specs, options.name)
    fields = spec.model_dump(mode="json") | {"safe_name": spec.safe_name}
    print_result(fields, as_text(spec), options.json)


def _call(options: argparse.Namespace) -> None:
    from ste_ray.core.effects import CallTool
    from ste_ray.stages.shared.tools import open_tools
    from ste_ray.tools.catalogue import find
    from ste_ray.tools.spec.safety import is_free

    config, files = _read(options)
    spec = find(files.specs, options.name)
    request = CallTool(tool=spec.name, arguments_json=options.arguments)

    allowed = options.allow or spec.name in files.allow.union(config.tools.allow)
    if not (options.dry_run or allowed or is_free(spec)):
        raise ToolSpecError(
            f"{spec.name!r} may change something when it is called (effect {spec.effect!r}); give "
            "--allow to call it, or --dry-run to see what would be done"
        )

    async def call() -> Any:
        async with open_tools(config.tools, {spec.name: spec}) as toolbox:
            if options.dry_run:
                return await toolbox.preview(request)
            await toolbox.verify()
            async with toolbox.episode("command") as tools:
                return await tools.call(request)

    found = asyncio.run(call())
    if options.dry_run:
        print_result({"tool": spec.name, "would": found}, f"{found}\n", options.json)
        return
    print_result({"tool": spec.name, **found.model_dump()}, f"{found.text}\n", options.json)
    if found.status != "ok":
        raise UserError(
            f"the call of {spec.name!r} ended as {found.status!r}; 'ste-ray tools show' tells "
            "what the tool takes"
        )


def _check(options: argparse.Namespace) -> None:
    from ste_ray.stages.shared.tools import open_tools
    from ste_ray.tools.trying import as_lines, check_tools

    config, files = _read(options)
    toolbox = open_tools(config.tools, files.specs)
    figures = asyncio.run(check_tools(files, config.tools.allow, toolbox, say))
    print_result(figures, as_lines(figures), options.json)
    if figures["failed"]:
        raise UserError(
            f"{figures['failed']} of {figures['checked']} tools do not do what their examples say; "
            "correct the tool or its examples"
        )


def _import(options: argparse.Namespace) -> None:
    from ste_ray.tools.spec.imported import Imported
    from ste_ray.tools.spec.writing import write_tool_specs

    imported: Imported = _IMPORTERS[options.source_kind](options)
    for name, reason in imported.skipped:
        say(" ".join(f"skipped {name}: {reason}".split()))
    specs = imported.specs
    allow = [s.name for s in specs if options.allow_unknown and s.effect == "unknown"]
    write_tool_specs(
        specs, options.out, allow=allow, allow_hosts=options.allow_host, replace=options.force
    )
    _print_imported(imported, allow, options)


def _print_imported(imported: Any, allow: Sequence[str], options: argparse.Namespace) -> None:
    from ste_ray.tools.importing import as_lines

    specs = imported.specs
    result = {
        "file": options.out,
        "tools": len(specs),
        "kinds": dict(sorted(Counter(spec.kind for spec in specs).items())),
        "effects": {spec.name: spec.effect for spec in specs},
        "allowed": list(allow),
        "secrets": sorted({name for spec in specs for name in spec.secrets}),
        "skipped": [{"name": name, "reason": reason} for name, reason in imported.skipped],
        "notes": list(imported.notes),
    }
    print_result(result, as_lines(result), options.json)


def _import_mcp(options: argparse.Namespace) -> Any:
    from ste_ray.tools.importing import from_mcp

    return asyncio.run(from_mcp(options.source, options.allow_host))


def _import_openapi(options: argparse.Namespace) -> Any:
    from ste_ray.tools.importing import from_openapi

    return from_openapi(
        options.source,
        base_url=options.base_url,
        prefix=options.prefix,
        tags=options.tag,
        allow_hosts=options.allow_host,
    )


def _import_python(options: argparse.Namespace) -> Any:
    from ste_ray.tools.importing import from_python

    return from_python(options.source)


def _import_toolbench(options: argparse.Namespace) -> Any:
    from ste_ray.tools.importing import from_toolbench

    return from_toolbench(options.source, getattr(options, "as_kind", "toolbench"))


_IMPORTERS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "mcp": _import_mcp,
    "openapi": _import_openapi,
    "python": _import_python,
    "toolbench": _import_toolbench,
    "study": _import_toolbench,
}
