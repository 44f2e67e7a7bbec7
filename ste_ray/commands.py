"""The commands that are no stages: ``ste-ray export …`` and ``teacher``.

Each ``add_…`` declares a group of commands; what runs imports the rest only then, so that the
command line starts quickly.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO, TypeVar

from ste_ray.errors import ConfigError, UserError
from ste_ray.output import print_result

T = TypeVar("T")


def add_export_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``export data-dict --run URI --out FILE``."""
    export = commands.add_parser("export", help="write a run in a form that other programs read")
    forms = export.add_subparsers(dest="export_command", required=True, metavar="FORM")
    data_dict = forms.add_parser("data-dict", help="the published study's data_dict.json")
    data_dict.add_argument(
        "--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix"
    )
    data_dict.add_argument("--out", required=True, metavar="FILE.json", help="file to write")
    data_dict.add_argument("--json", action="store_true", help="print the result as JSON")
    data_dict.set_defaults(function=_export_data_dict)


def add_teacher_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``teacher``, with its limits and faults."""
    command = commands.add_parser("teacher", help="serve the scripted teacher over HTTP")
    command.add_argument("--port", type=int, default=8009)
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--api-key", default="", help="refuse requests without this key")
    command.add_argument("--latency-seconds", type=float, default=0.0, help="wait before replies")
    flag = argparse.BooleanOptionalAction
    limits = command.add_argument_group("rate limits (token buckets, full at the start)")
    limits.add_argument("--rpm", type=float, help="requests a minute; default: no limit")
    limits.add_argument("--tpm", type=float, help="tokens a minute; default: no limit")
    limits.add_argument(
        "--burst-seconds", type=float, default=1.0, help="seconds' worth that can be saved up"
    )
    limits.add_argument(
        "--rate-headers", action=flag, default=False, help="send x-ratelimit-* headers"
    )
    limits.add_argument(
        "--retry-after", action=flag, default=True, help="send Retry-After with a refusal"
    )
    faults = command.add_argument_group("faults")
    faults.add_argument("--fault-rate", type=float, default=0.0, help="share of replies, 0 to 1")
    faults.add_argument(
        "--faults",
        metavar="KIND,…",
        help="some of 429, 500, 503, reset, hang, cut, empty, length, content_filter; default: all",
    )
    faults.add_argument("--hang-seconds", type=float, default=30.0, help="how long a hang lasts")
    bench = command.add_argument_group("benchmarks of clients")
    bench.add_argument("--fixed-reply", metavar="TEXT", help="the reply to every request")
    bench.add_argument("--usage-tokens", type=int, help="tokens to report for each reply")
    command.set_defaults(function=_serve_teacher)


def _export_data_dict(options: argparse.Namespace) -> None:
    from ste_ray.core.records import Episode
    from ste_ray.exports.data_dict import write_data_dict
    from ste_ray.stages.base import read_specs
    from ste_ray.store.artifacts import open_store
    from ste_ray.store.tables import iter_records

    store = open_store(options.run)
    episodes = iter_records(store, "explore/episodes", Episode)
    first = next(episodes, None)  # a run without episodes is told so before a file is begun
    specs = read_specs(store)
    rest = itertools.chain([first] if first else [], episodes)
    counts = _write_whole(options.out, lambda stream: write_data_dict(rest, specs, stream))
    lines = (f"  {name.replace('_', ' ')}: {value}\n" for name, value in asdict(counts).items())
    print_result(
        {"file": options.out, **asdict(counts)},
        f"{options.out}\n{''.join(lines)}",
        options.json,
    )


def _serve_teacher(options: argparse.Namespace) -> None:
    import uvloop

    from ste_ray.llm.teacher.server import TeacherSettings, serve

    given = {field.name: getattr(options, field.name) for field in fields(TeacherSettings)}
    kinds = given.pop("faults")
    if kinds is not None:
        given["faults"] = tuple(kind.strip() for kind in kinds.split(","))
    settings = TeacherSettings(**given)

    def ready(url: str) -> None:
        sys.stdout.write(f"scripted teacher (a script, not a language model) at {url}\n")
        sys.stdout.flush()

    try:
        uvloop.run(serve(settings, options.host, options.port, ready))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {options.host}:{options.port} ({reason}); choose another --port"
        ) from None


def _write_whole(path: str, write: Callable[[TextIO], T]) -> T:
    """Let ``write`` fill the file at ``path``, which appears whole or not at all."""
    file = Path(path)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("x", encoding="utf-8") as stream:
            result = write(stream)
        temporary.replace(file)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path!r}: {error}; give --out a file in an existing folder"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return result
