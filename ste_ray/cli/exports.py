"""The commands ``ste-ray export FORM``: a run in a form that other programs read.

What runs imports the rest only then, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from ste_ray.core import layout
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.process.output import print_result, say

if TYPE_CHECKING:
    from ste_ray.exports.source import ExportSource
    from ste_ray.store.artifacts import RunStore

T = TypeVar("T")
_FOLDERS = {
    "trl": "conversations with tools for TRL's trainers",
    "openai": "JSON lines for OpenAI's fine-tuning",
    "huggingface": "a Hugging Face dataset folder with its card",
    "study": "the published study's files: tool_data.json and others",
}


def add_export_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``export`` and its forms."""
    export = commands.add_parser("export", help="write a run in a form that other programs read")
    forms = export.add_subparsers(dest="export_command", required=True, metavar="FORM")
    for form, what in _FOLDERS.items():
        command = forms.add_parser(form, help=what)
        _add_run(command)
        command.add_argument("--out", required=True, metavar="DIR", help="folder to make")
        command.set_defaults(function=_export_folder)
        if form in ("trl", "openai"):
            command.add_argument(
                "--tools-per-row",
                type=int,
                default=8,
                metavar="N",
                help="how many tools each row offers: the right one and those most like it, or "
                "those nearest to a request that needs no call; 0: all (default 8)",
            )
            command.add_argument("--seed", type=int, default=0, help="of the draw of those tools")
        if form == "huggingface":
            command.add_argument(
                "--license", default="other", metavar="ID", help="of the data (default: other)"
            )
    data_dict = forms.add_parser("data-dict", help="the trials as the study's data_dict.json")
    _add_run(data_dict)
    data_dict.add_argument("--out", required=True, metavar="FILE.json", help="file to write")
    data_dict.set_defaults(function=_export_data_dict)

    model = forms.add_parser("model", help="the trained model as a folder, for servers of models")
    _add_run(model)
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
    _add_run(predictions)
    predictions.add_argument("--setting", required=True, help="such as tuned/toolken")
    predictions.add_argument("--out", required=True, metavar="FILE.json", help="file to write")
    predictions.set_defaults(function=_export_predictions)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix"
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def _export_folder(options: argparse.Namespace) -> None:
    from ste_ray import __version__
    from ste_ray.exports.folder import MARKER, write_json
    from ste_ray.exports.openai_jsonl import MIN_EXAMPLES
    from ste_ray.process.new_folder import new_folder
    from ste_ray.store.artifacts import open_store

    form = options.export_command
    if form in ("trl", "openai") and options.tools_per_row < 0:
        raise ConfigError(
            f"--tools-per-row {options.tools_per_row!r} must be 0 (all tools) or more"
        )
    source = _source(open_store(options.run))
    with new_folder(options.out) as folder:
        counts = _write(form, folder, source, options)
        result = {
            "format": form,
            # The folder is given to others, whom the places on this machine do not concern.
            "run": source.run if "://" in source.run else Path(source.run).name,
            "tools": len(source.tools),
            "rows": counts,
            "code_version": __version__,
        }
        write_json(folder / MARKER, result)
    if form == "openai" and counts.get("train", 0) < MIN_EXAMPLES:
        say(f"note: OpenAI takes no fewer than {MIN_EXAMPLES} examples to train on")
    lines = "".join(f"  {name}: {number}\n" for name, number in counts.items())
    print_result({"folder": options.out, **result}, f"{options.out}\n{lines}", options.json)


def _write(
    form: str, folder: Path, source: ExportSource, options: argparse.Namespace
) -> dict[str, int]:
    from ste_ray.exports.chat import Offers
    from ste_ray.exports.huggingface import write_huggingface
    from ste_ray.exports.openai_jsonl import write_openai
    from ste_ray.exports.study import write_study
    from ste_ray.exports.trl import write_trl
    from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
    from ste_ray.retrieval.offering import ToolOffers

    if form == "huggingface":
        return write_huggingface(folder, source, options.license)
    if form == "study":
        return write_study(folder, source)
    tools = [source.spec(tool) for tool in source.tools]
    choice = ToolOffers(make_encoder(HASHED_NGRAMS), tools, options.tools_per_row, options.seed)
    offers = Offers(source, choice)
    return (write_trl if form == "trl" else write_openai)(folder, source, offers)


def _source(store: RunStore) -> ExportSource:
    """Return what a prepared run holds.

    Raises:
        StageInputError: it is not prepared.
    """
    from ste_ray.core.records import Example, TrainRow
    from ste_ray.exports.source import ExportSource
    from ste_ray.stages.base import load_prompts, read_specs
    from ste_ray.store.manifest import read_manifest, read_models
    from ste_ray.store.tables import iter_records

    manifest = read_manifest(store, "prepare")
    if manifest is None:
        raise StageInputError(
            f"{store.uri!r} holds no prepared data; run 'ste-ray prepare --run "
            f"{shlex.quote(store.uri)}' first"
        )
    explored = read_manifest(store, "explore")
    notes = dict.fromkeys([*(explored.notes if explored else ()), *manifest.notes])
    models = {stage: read_models(store, stage) for stage in ("explore", "prepare")}
    return ExportSource(
        run=re.sub(r"//[^/@]*@", "//", store.uri),
        specs=read_specs(store),
        tools=tuple(sorted(tool["name"] for tool in store.read_json(layout.PREPARED_TOOLS))),
        prompts=load_prompts(),
        manifest={**manifest.model_dump(mode="json"), "notes": list(notes)},
        models={stage: asked for stage, asked in models.items() if asked},
        examples=lambda: iter_records(store, layout.EXAMPLES, Example),
        rows=lambda: iter_records(store, layout.ROWS, TrainRow),
    )


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
