"""The command ``ste-ray serve``: a trained model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ste_ray.cli.option_types import port_number
from ste_ray.errors import ConfigError, UserError
from ste_ray.process.output import print_json, say, write_text
from ste_ray.process.stopping import StoppedError, end_within, ending_within, until_told

_ENDS_WITHIN_SECONDS = 5.0  # with a grammar that takes longer, or a long prompt


def add_serve_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``serve``."""
    command = commands.add_parser(
        "serve",
        help="serve a trained model over HTTP, as OpenAI's chat completions",
        description="Serve the trained model of a run, or a model's folder, to any client of"
        " OpenAI's chat completions. SIGTERM or Ctrl-C ends it. To hold a server against a run's"
        " test requests: ste-ray serve check URL --run URI (a folder of that name is ./check).",
        epilog="Example: %(prog)s runs/demo --port 8000",
    )
    command.add_argument(
        "target", nargs="?", metavar="MODEL_FOLDER", help="or a run; local or s3://bucket/prefix"
    )
    command.add_argument("--run", metavar="URI", help="a run whose trained model is served")
    command.add_argument("--port", type=port_number, default=8011, help="0: any that is free")
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--name", default="", help="by which clients ask (default: the run's)")
    command.add_argument("--config", metavar="FILE.yaml", help="configuration; see jobs/*.yaml")
    command.add_argument(
        "--json", action="store_true", help="print what is served as JSON, once it is ready"
    )
    command.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="e.g. infer.use_gpu=true"
    )
    command.set_defaults(function=_serve)


def _serve(options: argparse.Namespace) -> int:
    target, overrides = _divided(options)
    try:
        with ending_within(_ENDS_WITHIN_SECONDS, 0):
            _serve_until_told(options, target, overrides)
    except (KeyboardInterrupt, StoppedError):
        # Ctrl-C sets no limit by itself, and Python waits for its threads.
        end_within(_ENDS_WITHIN_SECONDS, 0)
    return 0


def _serve_until_told(options: argparse.Namespace, target: str, overrides: list[str]) -> None:
    import asyncio

    from ste_ray.config import load_config
    from ste_ray.serving.app import ModelServer, serve
    from ste_ray.serving.decoding import Decoder
    from ste_ray.stages.serve.opening import Target, open_model

    config = load_config(options.config, overrides)
    wanted = Target(target, options.name, is_run=options.run is not None)
    with open_model(wanted, config, say) as model:
        decoder = Decoder(model.model)
        is_ready = False

        def ready(url: str) -> None:
            nonlocal is_ready
            is_ready = True
            if options.json:
                print_json({"url": url, "model": model.name}, one_line=True)
            else:
                write_text(f"{model.name} at {url} (Ctrl-C ends it)\n")
            sys.stdout.flush()

        serving = serve(ModelServer(model, decoder, say), options.host, options.port, ready)
        try:
            asyncio.run(until_told(serving))
        except (OSError, OverflowError) as error:
            if is_ready:  # nothing of the address
                raise
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"cannot listen on {options.host}:{options.port} ({reason}); choose another --port"
            ) from None
        finally:
            decoder.close()


def _divided(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Return what is to be served, and the overrides, in whichever order they are.

    Raises:
        ConfigError: nothing is, or several.
    """
    given = [*([] if options.target is None else [options.target]), *options.overrides]
    targets = [one for one in given if not _is_override(one)]
    if options.run is not None:
        targets.append(options.run)
    if len(targets) != 1:
        told = " and ".join(map(repr, targets)) or "nothing"
        raise ConfigError(
            f"{told} is to be served; give one model's folder, or --run with a run that has trained"
        )
    return targets[0], [one for one in given if _is_override(one)]


def _is_override(text: str) -> bool:
    """Whether it sets a key of the configuration; paths may hold equals signs too."""
    name, is_set, _ = text.partition("=")
    return bool(is_set) and "/" not in name and not Path(text).exists()
