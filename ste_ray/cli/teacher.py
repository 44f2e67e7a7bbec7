"""The command ``ste-ray teacher``; what runs imports the rest only then."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from typing import Any, TypeVar

from ste_ray.cli.option_types import port_number
from ste_ray.errors import UserError
from ste_ray.process.stopping import until_told

T = TypeVar("T")


def add_teacher_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``teacher``, with its limits and faults."""
    command = commands.add_parser("teacher", help="serve the scripted teacher over HTTP")
    command.add_argument("--port", type=port_number, default=8009)
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
    faults.add_argument(
        "--odd-call-rate",
        type=float,
        default=0.0,
        help="share of replies with tools that are told oddly",
    )
    faults.add_argument(
        "--odd-calls",
        metavar="KIND,…",
        help="some of several, bad_json, no_ids, call_in_text, … (a wrong one lists all); "
        "default: all",
    )
    faults.add_argument("--hang-seconds", type=float, default=30.0, help="how long a hang lasts")
    bench = command.add_argument_group("benchmarks of clients")
    bench.add_argument("--fixed-reply", metavar="TEXT", help="the reply to every request")
    bench.add_argument("--usage-tokens", type=int, help="tokens to report for each reply")
    command.set_defaults(function=_serve_teacher)


def _serve_teacher(options: argparse.Namespace) -> None:
    import uvloop

    from ste_ray.simulated_provider.server import TeacherSettings, serve

    given = {field.name: getattr(options, field.name) for field in fields(TeacherSettings)}
    for name in ("faults", "odd_calls"):
        kinds = given.pop(name)
        if kinds is not None:
            given[name] = tuple(kind.strip() for kind in kinds.split(","))
    settings = TeacherSettings(**given)

    def ready(url: str) -> None:
        sys.stdout.write(f"scripted teacher (a script, not a language model) at {url}\n")
        sys.stdout.flush()

    try:
        uvloop.run(until_told(serve(settings, options.host, options.port, ready)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {options.host}:{options.port} ({reason}); choose another --port"
        ) from None
