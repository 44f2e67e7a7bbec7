"""The commands ``ste-ray export FORM``: a run in a form that other programs read.

Those that make a folder of the training data are in ``exported_folders``.

What runs imports the rest only then, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from ste_ray.cli.exported_folders import add_folder_exports, add_run
from ste_ray.core import layout
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.process.output import print_result, say

if TYPE_CHECKING:
    from ste_ray.store.artifacts import RunStore

T = TypeVar("T")


def add_export_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``export`` and its forms."""
    export = commands.add_parser("export", help="write a run in a form that other programs read")
    forms = export.add_subparsers(dest="export_command", required=True, metavar="FORM")
    add_folder_exports(forms)
    data_dict = forms.add_parser("data-dict", help="the trials as the study's data_dict.json")
    add_run(data_dict)
    data_dict.add_argument("--out", required=True, metavar="FILE.json", help="file to write")
    data_dict.set_defaults(function=_export_data_dict)

    model = forms.add_parser("model", help="the trained model as a folder, for servers of models")
    add_run(model)
    model.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    model.set_defaults(function=_export_model)

    gguf = forms.add_parser(
        "gguf",
        help="the trained model as a GGUF file, for llama.cpp and Ollama",
        description="Write the trained model of a run, or a model folder, as a GGUF file.",
    )
    source = gguf.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", metavar="URI", help="a folder or s3://bucket/prefix")
    source.add_argument("--model", metavar="FOLDER", help="a model folder instead of a run's model")
    gguf.add_argument("--out", required=True, metavar="FILE.gguf", help="file to write")
    gguf.add_argument(
        "--type",
        choices=["auto", "f32", "bf16", "f16", "q8_0"],
        default="auto",
        help="of the weights (default: auto, as the folder stores them)",
    )
    gguf.add_argument("--json", action="store_true", help="print the result as JSON")
    gguf.set_defaults(function=_export_gguf)

    predictions = forms.add_parser(
        "predictions", help="predictions of a setting in the shape of the study's saved results"
    )
    add_run(predictions)
    predictions.add_argument("--setting", required=True, help="such as tuned/toolken")
    predictions.add_argument("--out", required=True, metavar="FILE.json", help="file to write")
    predictions.set_defaults(function=_export_predictions)


def _export_data_dict(options: argparse.Namespace) -> None:
    from ste_ray.core.records import Episode
    from ste_ray.exports.data_dict import write_data_dict
    from ste_ray.stages.base import read_specs
    from ste_ray.store.artifacts import open_store
    from ste_ray.store.tables import iter_records

    store = open_store(options.run)
    episodes = iter_records(store, layout.EPISODES, Episode)
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


def _export_model(options: argparse.Namespace) -> None:
    from ste_ray.process.new_folder import new_folder
    from ste_ray.stages.ask.recorded import default_setting
    from ste_ray.training.tool_parser import write_tool_parser

    store = _trained(options.run)
    with new_folder(options.out) as folder:
        store.download_folder(layout.TUNED_MODEL, folder)
        if default_setting(store)[0] == "tuned/toolken":
            write_tool_parser(folder)  # also where an older version has trained it
        sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    print_result(
        {"folder": options.out, "files": len(sizes), "bytes": sum(sizes)},
        f"{options.out}\n  files: {len(sizes)}\n  MB: {sum(sizes) / 1e6:.1f}\n",
        options.json,
    )


def _export_gguf(options: argparse.Namespace) -> None:
    from ste_ray.exports.gguf_model import export_gguf
    from ste_ray.process.new_file import new_file

    source = options.run or options.model
    name = Path(source if "://" in source else Path(source).resolve()).name
    with _model_folder(options) as folder, new_file(options.out) as file:
        found = export_gguf(folder, file, options.type, name, say)
    for note in found.notes:
        say(f"note: {note}")
    text = (
        f"{options.out}\n"
        f"  {found.name}: {found.architecture}, {found.parameters:,} parameters\n"
        f"  vocabulary: {found.vocabulary:,} tokens, {found.added_tokens:,} of them added\n"
        f"  weights: stored as {found.stored_types}\n"
        f"  size: {found.num_bytes / 1e6:,.1f} MB\n"
    )
    print_result({"file": options.out, **asdict(found)}, text, options.json)


@contextmanager
def _model_folder(options: argparse.Namespace) -> Iterator[Path]:
    """Yield the folder that is given, or a run's trained model, from object storage as a copy."""
    import pyarrow.fs as pafs

    from ste_ray.process.scratch import ScratchFolder

    if options.model:
        yield Path(options.model).expanduser()
        return
    store = _trained(options.run)
    if isinstance(store.filesystem, pafs.LocalFileSystem):
        yield Path(store.path(layout.TUNED_MODEL))
        return
    with ScratchFolder(prefix="ste-model-") as folder:
        store.download_folder(layout.TUNED_MODEL, folder)
        yield Path(folder)


def _trained(uri: str) -> RunStore:
    """Return the store of a run that holds a trained model."""
    from ste_ray.store.artifacts import open_store

    store = open_store(uri)
    if not store.exists(f"{layout.TUNED_MODEL}/config.json"):
        raise StageInputError(
            f"{store.uri!r} holds no trained model; run 'ste-ray train --run "
            f"{shlex.quote(store.uri)}' first"
        )
    return store


def _write_whole(path: str, write: Callable[[TextIO], T]) -> T:
    """Let ``write`` fill the file at ``path``, which appears whole or not at all."""
    from ste_ray.process.new_file import new_file

    with new_file(path) as file, file.open("x", encoding="utf-8") as stream:
        return write(stream)


def _export_predictions(options: argparse.Namespace) -> None:
    from ste_ray.core.records import Prediction
    from ste_ray.exports.predictions import saved_results
    from ste_ray.stages.base import read_specs
    from ste_ray.store.artifacts import open_store
    from ste_ray.store.tables import iter_records, parquet_files

    store = open_store(options.run)
    folder = layout.PREDICTIONS
    if not parquet_files(store, folder):
        raise StageInputError(
            f"there are no predictions in {store.address(folder)!r}; run 'ste-ray infer' first"
        )
    found: dict[str, list[Prediction]] = {}
    for one in iter_records(store, folder, Prediction):
        found.setdefault(one.setting, []).append(one)
    if options.setting not in found:
        raise ConfigError(
            f"--setting {options.setting!r} has no predictions"
            f"{did_you_mean(options.setting, found)}; those that have: "
            f"{', '.join(sorted(found))}"
        )
    items = saved_results(found[options.setting], read_specs(store))
    count = sum(map(len, items.values()))
    if left_out := len(found[options.setting]) - count:
        say(f"note: {left_out} requests that need no call have no place in that form: left out")
    _write_whole(options.out, lambda stream: json.dump(items, stream, indent=1))
    print_result(
        {"file": options.out, "setting": options.setting, "predictions": count},
        f"{options.out}\n  predictions: {count}\n",
        options.json,
    )
