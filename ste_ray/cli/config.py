"""The command ``ste-ray config show``: what a file and overrides amount to."""

from __future__ import annotations

import argparse
from typing import Any

from ste_ray.process.output import print_result


def add_config_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``config``."""
    config = commands.add_parser("config", help="show the configuration that a command would use")
    actions = config.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="all keys with their values, as YAML")
    show.add_argument("--config", metavar="FILE.yaml", help="configuration; see jobs/*.yaml")
    show.add_argument("--json", action="store_true", help="print the result as JSON")
    show.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="e.g. explore.max_turns=3"
    )
    show.set_defaults(function=_show)


def _show(options: argparse.Namespace) -> None:
    import yaml

    from ste_ray.config import load_config

    values = load_config(options.config, options.overrides).model_dump(mode="json")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
    print_result(values, text, options.json)
