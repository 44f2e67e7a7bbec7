"""``ste-ray tools diff OLD NEW``: what changed in tools, by what it means for a trained model."""

from __future__ import annotations

import argparse
from typing import Any

from ste_ray.process.output import print_result, say

RETRAINING_IS_DUE = 3  # exit code


def add_diff_command(actions: argparse._SubParsersAction[Any]) -> None:
    """Declare the command."""
    command = actions.add_parser(
        "diff",
        help="what changed in tools; exit code 3 where retraining is due",
        description="Say what changed between two sets of tools, by what it means for a model that"
        " was trained on OLD. Exit code 3 where retraining is due, else 0.",
    )
    what = "tool file, folder or shipped set, URI of a run, or mcp:FILE, openapi:FILE_OR_URL, …"
    command.add_argument("old", metavar="OLD", help=what)
    command.add_argument("new", metavar="NEW", help="likewise")
    command.add_argument(
        "--ignore-added",
        action="store_true",
        help="tools that only NEW has are no change, as OLD is a choice among them",
    )
    command.add_argument("--markdown", metavar="FILE", help="write it for a pull request")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    live = command.add_argument_group("of live sources, as 'ste-ray tools import' has them")
    live.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST", help="a private host to ask"
    )
    live.add_argument("--base-url", default="", help="openapi: the server that is called")
    live.add_argument("--tag", action="append", default=[], help="openapi: only such operations")
    live.add_argument("--prefix", default="", help="openapi: put before each tool's name")
    command.set_defaults(function=_diff)


def _diff(options: argparse.Namespace) -> int:
    from ste_ray.core.tool_changes.tools import compare_tools
    from ste_ray.report.tool_changes import changes_markdown, changes_text, headline
    from ste_ray.stages.shared.tool_sources import ImportOptions, read_tools
    from ste_ray.store.single_files import write_single_file

    how = ImportOptions(options.allow_host, options.base_url, options.prefix, options.tag)
    old, new = (read_tools(one, how, say) for one in (options.old, options.new))
    found = compare_tools(old, new, ignore_added=options.ignore_added)
    if options.markdown:
        write_single_file(options.markdown, changes_markdown(found, options.old, options.new))
    result = {
        "headline": headline(found),
        "old": options.old,
        "new": options.new,
        "retraining_is_due": found.retraining_is_due,
        **found.model_dump(mode="json"),
    }
    print_result(result, changes_text(found, options.old, options.new), options.json)
    return RETRAINING_IS_DUE if found.retraining_is_due else 0
