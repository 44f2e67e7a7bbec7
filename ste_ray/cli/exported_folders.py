"""The forms of ``ste-ray export`` that make a folder of a run's prepared data.

What runs imports the rest only then, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ste_ray.core import layout
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.process.output import print_result, say

if TYPE_CHECKING:
    from ste_ray.core.records import Episode
    from ste_ray.exports.chat import Offers
    from ste_ray.exports.folder import Written
    from ste_ray.exports.source import ExportSource
    from ste_ray.store.artifacts import RunStore

_OFFERING = {
    "trl": "conversations with tools for TRL's trainers",
    "openai": "JSON lines for OpenAI's fine-tuning",
    "llamafactory": "ShareGPT conversations with calls for LLaMA-Factory, and dataset_info.json",
    "axolotl": "conversations with tools for axolotl, and a recipe to train on them",
    "hermes": "conversations with calls in the form of the Hermes models",
    "bfcl": "the test requests as tests and answers of the Berkeley Function-Calling Leaderboard",
    "dpo": "pairs of a failed call and the call that mended it, for TRL's preference trainers",
}
_OTHERS = {
    "huggingface": "a Hugging Face dataset folder with its card",
    "study": "the published study's files: tool_data.json and others",
}
_DEFAULT_BASE = "Qwen/Qwen2.5-0.5B-Instruct"


def add_run(command: argparse.ArgumentParser) -> None:
    """Declare which run, and whether the result is printed as JSON."""
    command.add_argument(
        "--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix"
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def add_folder_exports(forms: argparse._SubParsersAction[Any]) -> None:
    """Declare the forms that make a folder."""
    for form, what in {**_OFFERING, **_OTHERS}.items():
        command = forms.add_parser(form, help=what)
        add_run(command)
        command.add_argument("--out", required=True, metavar="DIR", help="folder to make")
        command.set_defaults(function=_export_folder)
        if form in _OFFERING:
            command.add_argument(
                "--tools-per-row",
                type=int,
                default=8,
                metavar="N",
                help="how many tools each row offers: the right one and those most like it, or "
                "those nearest to a request that needs no call; 0: all (default 8)",
            )
            command.add_argument("--seed", type=int, default=0, help="of the draw of those tools")
        if form == "axolotl":
            command.add_argument(
                "--base-model",
                default=_DEFAULT_BASE,
                metavar="MODEL",
                help="that the recipe trains: a name of the hub or a folder, with a chat template "
                f"that knows tools (default: {_DEFAULT_BASE})",
            )
        if form == "huggingface":
            command.add_argument(
                "--license", default="other", metavar="ID", help="of the data (default: other)"
            )


def _export_folder(options: argparse.Namespace) -> None:
    from ste_ray import __version__
    from ste_ray.exports.folder import MARKER, write_json
    from ste_ray.exports.openai_jsonl import MIN_EXAMPLES
    from ste_ray.process.new_folder import new_folder
    from ste_ray.store.artifacts import open_store

    form = options.export_command
    if form in _OFFERING and options.tools_per_row < 0:
        raise ConfigError(
            f"--tools-per-row {options.tools_per_row!r} must be 0 (all tools) or more"
        )
    source = _source(open_store(options.run))
    with new_folder(options.out) as folder:
        written = _write(form, folder, source, options)
        result = {
            "format": form,
            # The folder is given to others, whom the places on this machine do not concern.
            "run": source.run if "://" in source.run else Path(source.run).name,
            "tools": len(source.tools),
            "rows": dict(written.rows),
            "left_out": dict(written.left_out),
            "code_version": __version__,
        }
        write_json(folder / MARKER, result)
    for reason, number in written.left_out.items():
        say(f"note: left out: {number} x {reason}")
    if form == "openai" and written.rows.get("train", 0) < MIN_EXAMPLES:
        say(f"note: OpenAI takes no fewer than {MIN_EXAMPLES} examples to train on")
    lines = "".join(f"  {name}: {number}\n" for name, number in written.rows.items())
    print_result({"folder": options.out, **result}, f"{options.out}\n{lines}", options.json)


def _write(form: str, folder: Path, source: ExportSource, options: argparse.Namespace) -> Written:
    from ste_ray.exports.chat import Offers
    from ste_ray.exports.huggingface import write_huggingface
    from ste_ray.exports.study import write_study
    from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
    from ste_ray.retrieval.offering import ToolOffers

    if form == "huggingface":
        return write_huggingface(folder, source, options.license)
    if form == "study":
        return write_study(folder, source)
    tools = [source.spec(tool) for tool in source.tools]
    choice = ToolOffers(make_encoder(HASHED_NGRAMS), tools, options.tools_per_row, options.seed)
    return _writer(form, options)(folder, source, Offers(source, choice))


def _writer(
    form: str, options: argparse.Namespace
) -> Callable[[Path, ExportSource, Offers], Written]:
    """Return what writes a form whose rows offer tools."""
    import functools

    from ste_ray.exports.axolotl import write_axolotl
    from ste_ray.exports.bfcl import write_bfcl
    from ste_ray.exports.dpo import write_dpo
    from ste_ray.exports.hermes import write_hermes
    from ste_ray.exports.llamafactory import write_llamafactory
    from ste_ray.exports.openai_jsonl import write_openai
    from ste_ray.exports.trl import write_trl

    writers: dict[str, Callable[[Path, ExportSource, Offers], Written]] = {
        "trl": write_trl,
        "openai": write_openai,
        "llamafactory": write_llamafactory,
        "hermes": write_hermes,
        "bfcl": write_bfcl,
        "dpo": write_dpo,
    }
    if form == "axolotl":
        return functools.partial(write_axolotl, base_model=options.base_model)
    return writers[form]


def _source(store: RunStore) -> ExportSource:
    """Return what a prepared run holds.

    Raises:
        StageInputError: it is not prepared.
    """
    from ste_ray.core.records import Example, TrainRow
    from ste_ray.core.texts.addresses import shortened_address
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
        run=shortened_address(store.uri),
        specs=read_specs(store),
        tools=tuple(sorted(tool["name"] for tool in store.read_json(layout.PREPARED_TOOLS))),
        prompts=load_prompts(),
        manifest={**manifest.model_dump(mode="json"), "notes": list(notes)},
        models={stage: asked for stage, asked in models.items() if asked},
        examples=lambda: iter_records(store, layout.EXAMPLES, Example),
        rows=lambda: iter_records(store, layout.ROWS, TrainRow),
        episodes=lambda: _episodes(store),
    )


def _episodes(store: RunStore) -> Iterator[Episode]:
    from ste_ray.core.records import Episode
    from ste_ray.store.tables import iter_records, parquet_files

    if parquet_files(store, layout.EPISODES):  # data that were imported have none
        yield from iter_records(store, layout.EPISODES, Episode)
