"""The command ``ste-ray serve check``: whether a deployed model calls tools as the run recorded it.

What runs imports the rest only then, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ste_ray.cli.option_types import share, whole_number
from ste_ray.errors import ConfigError
from ste_ray.process.new_file import write_file
from ste_ray.process.output import print_json, say, write_text
from ste_ray.process.stopping import until_told

if TYPE_CHECKING:
    from ste_ray.stages.check.checking import CheckedWay

COMMAND = "serve check"
DIFFERENT = 1
_WAYS = {"both": (False, True), "no": (False,), "yes": (True,)}


def add_serve_check_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``serve check``, which the command line gives as one word.

    A model's folder stands in the place of ``check`` where a model is served.
    """
    command = commands.add_parser(
        COMMAND,
        help="send the run's test requests through an endpoint, and compare call by call",
        description="Send the test requests of a run through an OpenAI-compatible endpoint as a"
        " client does, and compare its calls with those that infer recorded. Ends with 0 where they"
        " are the same, with 1 where they differ by more than is allowed. Nothing is written into"
        " the run.",
        epilog="Example: %(prog)s http://127.0.0.1:8000/v1 --run runs/demo",
    )
    command.add_argument("url", metavar="URL", help="the endpoint's address, usually up to /v1")
    command.add_argument(
        "--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix"
    )
    command.add_argument(
        "--setting",
        metavar="MODEL/PROMPT",
        help="whose recorded answers count (default: tuned/native, else tuned/toolken)",
    )
    command.add_argument("--model", default="", help="its name there (default: the only one)")
    command.add_argument(
        "--api-key-env",
        default="",
        metavar="VARIABLE",
        help="holds the key (default: none is sent)",
    )
    command.add_argument(
        "--tools",
        choices=["candidates", "all", "right", "none"],
        help="tools that go with each request: those that the recorded prompt had (default), all"
        " that the run has taught, the right one; none: the prompt goes as text",
    )
    command.add_argument(
        "--stream", choices=sorted(_WAYS), default="both", help="ask streamed, or not, or both"
    )
    command.add_argument(
        "--no-system",
        action="store_true",
        help="leave the system message of training out, for servers that bring their own",
    )
    command.add_argument(
        "--concurrency", type=whole_number, default=1, metavar="N", help="requests in flight"
    )
    command.add_argument(
        "--limit", type=whole_number, metavar="N", help="the first N requests only"
    )
    command.add_argument(
        "--tolerance",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="of calls that may differ, 0 to 1 (default: 0)",
    )
    command.add_argument(
        "--accuracy-tolerance",
        type=share,
        metavar="SHARE",
        help="by which the share of right calls may be lower (default: as --tolerance)",
    )
    command.add_argument("--out", metavar="FILE.json", help="write all replies there, as JSON")
    command.add_argument("--config", metavar="FILE.yaml", help="configuration; see jobs/*.yaml")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="e.g. llm.patience_seconds=600"
    )
    command.set_defaults(function=_check)


def _check(options: argparse.Namespace) -> int:
    from ste_ray.config import load_config
    from ste_ray.core.inferring.served import tools_sent_in
    from ste_ray.llm.given_endpoint import given_endpoint
    from ste_ray.stages.check.checking import Asking, check_way
    from ste_ray.stages.check.recorded import load_checked_run, values_of_run
    from ste_ray.store.artifacts import open_store

    _refuse_out(options.out)
    store = open_store(options.run)
    config = load_config(options.config, options.overrides, values_of_run(store))
    run = load_checked_run(store, config, options.setting, options.limit, say)
    asking = Asking(
        tools_sent_in(run.setting, options.tools), not options.no_system, options.concurrency
    )
    endpoint = given_endpoint(
        options.url, options.model, options.api_key_env, config.llm, os.environ, say
    )

    async def check() -> list[CheckedWay]:
        return [
            await check_way(run, endpoint, config, asking, streamed, say)
            for streamed in _WAYS[options.stream]
        ]

    with asyncio.Runner() as runner:
        ways = runner.run(until_told(check()))
    return _told(
        options,
        ways,
        {
            "endpoint": endpoint.base_url,
            "model": endpoint.model,
            "run": store.uri,
            "setting": run.setting.name,
            "tools": asking.tools,
            "concurrency": asking.concurrency,
        },
    )


def _told(options: argparse.Namespace, ways: list[CheckedWay], about: dict[str, Any]) -> int:
    """Print what came of it; return the exit code."""
    from ste_ray.report.served import served_differences, served_table, served_verdict

    allowed = options.tolerance, _accuracy_tolerance(options)
    equal = all(way.summary.within(*allowed) for way in ways)
    result = {
        **about,
        "equal": equal,
        "tolerance": allowed[0],
        "accuracy_tolerance": allowed[1],
        "ways": [way.as_json() for way in ways],
    }
    if options.out is not None:
        _write(options.out, result)
    if options.json:
        print_json(result)
        return 0 if equal else DIFFERENT
    head = (
        f"{about['endpoint']}, model {about['model']!r}, beside the setting {about['setting']!r} of"
        f" {about['run']}; tools sent: {about['tools']}"
    )
    parts = [f"{head}\n\n{served_table([way.summary for way in ways])}"]
    parts += [
        served_differences(way.summary.streamed, way.differing) for way in ways if way.differing
    ]
    parts.append("\n".join(served_verdict(way.summary, *allowed) for way in ways))
    write_text("\n\n".join(parts) + "\n")
    return 0 if equal else DIFFERENT


def _accuracy_tolerance(options: argparse.Namespace) -> float:
    given: float | None = options.accuracy_tolerance
    tolerance: float = options.tolerance
    return tolerance if given is None else given


def _refuse_out(out: str | None) -> None:
    """Refuse a file that cannot be written, before anybody is asked.

    Raises:
        ConfigError: its folder is not there, or it is one itself.
    """
    if out is not None and (Path(out).is_dir() or not Path(out).parent.is_dir()):
        raise ConfigError(f"--out {out!r} cannot be written; give a file in a folder that is there")


def _write(out: str, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=2, ensure_ascii=False)
    write_file(out, f"{text}\n".encode())
