"""The command line: ``ste-ray STAGE``, the same as ``jobs/STAGE.py``.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 2 the
user's mistake, 3 retraining is due, 75 try again, 1 a fault of ours, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from ste_ray import __version__
from ste_ray.cli.ask import add_ask_command
from ste_ray.cli.config import add_config_commands
from ste_ray.cli.demo import add_demo_command
from ste_ray.cli.exports import add_export_commands
from ste_ray.cli.imports import add_import_commands
from ste_ray.cli.report import add_report_commands
from ste_ray.cli.serve import add_serve_command
from ste_ray.cli.serve_check import COMMAND as SERVE_CHECK
from ste_ray.cli.serve_check import add_serve_check_command
from ste_ray.cli.stages import add_stage_commands
from ste_ray.cli.store import add_store_commands
from ste_ray.cli.teacher import add_teacher_command
from ste_ray.cli.test_sets import add_tests_commands
from ste_ray.cli.tools import add_tools_commands
from ste_ray.cli.update import add_update_command
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import ConfigError, SteRayError, TemporaryError
from ste_ray.process import stopping
from ste_ray.process.output import masked_output, open_closed_streams, print_json, say

_CHOICE = re.compile(r"argument (?P<what>\S+): invalid choice: '(?P<given>.*)' \(choose from .*\)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_MAX_CHOICES = 6  # to be named in an error; all stand in the help


class _Parser(argparse.ArgumentParser):
    """Errors in one line that names what may have been meant and the remedy, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{_with_hint(message)}; see '{self.prog} --help'")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as always, and refuse options that this command does not have."""
        options, others = super().parse_known_args(args, namespace)
        for other in others:
            if other.startswith("--"):
                known = sorted(set(_OPTION.findall(self.format_help())))
                hint = did_you_mean(other.partition("=")[0], known)
                self.error(f"unrecognized argument {other!r}{hint}")
        return options, others


def _with_hint(message: str) -> str:
    """Return an error of argparse with the nearest of the choices in place of a long list."""
    if (match := _CHOICE.fullmatch(message)) is None:
        return message
    *_, written = message.partition("(choose from ")
    choices = [one.strip("' ") for one in written.removesuffix(")").split(",")]
    hint = did_you_mean(match["given"], choices)
    known = f"; choose from {', '.join(choices)}" if len(choices) <= _MAX_CHOICES else ""
    return f"argument {match['what']}: unknown {match['given']!r}{hint}{known}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    open_closed_streams()
    with masked_output():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    stopping.take_over()
    try:
        options = parse_arguments(arguments)
        if not hasattr(options, "stages"):  # others start Ray first
            stopping.working()
        code: int | None = options.function(options)
        return code or 0
    except SteRayError as error:
        return _fail(error, as_json)
    except SystemExit as error:
        if not stopping.is_told(error):
            raise
        return _fail(TemporaryError(stopping.MESSAGE), as_json)
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        traceback.print_exc()
        return _fail(SteRayError(f"unexpected {type(error).__name__}: {error}"), as_json)


def entry() -> NoReturn:
    """The console script."""
    sys.exit(main())


def run_job(stage: str) -> NoReturn:
    """Run ``stage`` with the arguments of a job script."""
    sys.exit(main([stage, *sys.argv[1:]]))


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse a command; overrides may stand anywhere, which argparse alone does not allow."""
    parser = argument_parser()
    words = SERVE_CHECK.split()
    if arguments[: len(words)] == words:
        arguments = [SERVE_CHECK, *arguments[len(words) :]]
    options, others = parser.parse_known_args(arguments)
    unknown = [other for other in others if other.startswith("-") or "=" not in other]
    if unknown or (others and "overrides" not in options):
        parser.error(f"unrecognized argument {(unknown or others)[0]!r}")
    if others:
        options.overrides += others
    return options


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="ste-ray",
        description="Simulated trial and error: from tools to a model that calls them accurately.",
    )
    parser.add_argument("--version", action="version", version=f"ste-ray {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_stage_commands(commands)
    add_update_command(commands)
    add_demo_command(commands)
    add_teacher_command(commands)
    add_tools_commands(commands)
    add_export_commands(commands)
    add_import_commands(commands)
    add_tests_commands(commands)
    add_ask_command(commands)
    add_serve_command(commands)
    add_serve_check_command(commands)
    add_report_commands(commands)
    add_store_commands(commands)
    add_config_commands(commands)
    return parser


def _fail(error: SteRayError, as_json: bool) -> int:
    message = " ".join(str(error).split())
    say(f"error: {message}")
    if as_json:
        kind = type(error).__name__
        print_json({"error": {"type": kind, "message": message, "exit_code": error.exit_code}})
    return error.exit_code


if __name__ == "__main__":
    entry()
