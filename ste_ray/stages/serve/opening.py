"""Finds, fetches and loads the model that is to be served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import GenerationConfig
from transformers.cli.serving.utils import get_response_template
from transformers.utils import logging as transformers_logging

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.served_toolkens.chat_template import has_toolkens
from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Message
from ste_ray.core.toolkens import toolken
from ste_ray.core.trained_tools import TOOLS_FILE
from ste_ray.errors import StageInputError, ToolTemplateError
from ste_ray.generation.model import LocalModel, load_model
from ste_ray.process.scratch import ScratchFolder
from ste_ray.serving.model import ServedModel, learned_names
from ste_ray.serving.prompts import PromptWriter
from ste_ray.serving.sampling import served_config
from ste_ray.stages.infer.models import loading_of
from ste_ray.stages.serve.binding import CallBinder
from ste_ray.store.artifacts import open_store
from ste_ray.training.tool_parser import TOOL_PARSER_FILE
from ste_ray.training.toolkens import read_toolkens

_ANSWERED = tuple(Message(role=role, content="a") for role in ("user", "assistant", "user"))


@dataclass(frozen=True)
class Target:
    """What is to be served.

    Attributes:
        uri: a run, or a model's folder; local or in object storage.
        name: for clients; empty: after the run or the folder.
        is_run: whether it must be a run.
    """

    uri: str
    name: str = ""
    is_run: bool = False


@contextmanager
def open_model(target: Target, config: Config, say: Callable[[str], None]) -> Iterator[ServedModel]:
    """Yield a loaded model; what was fetched for it is removed at the end.

    Raises:
        StageInputError: there is no model, or it cannot be loaded.
    """
    transformers_logging.disable_progress_bar()
    with _folder(target, say) as folder:
        own = _own_config(folder)
        loaded = load_model(folder, loading_of(config))
        loaded.model.generation_config = own
        yield _served(loaded, folder, target.name or _name_of(target.uri))


def _own_config(folder: Path) -> GenerationConfig:
    """Return what the folder itself says of how tokens are chosen.

    Raises:
        StageInputError: its file cannot be read.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return GenerationConfig()
    try:
        return served_config(GenerationConfig.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise StageInputError(
            f"{str(path)!r} is no generation configuration ({told}); write it again, or delete the"
            " file to go without"
        ) from None


def _served(loaded: LocalModel, folder: Path, name: str) -> ServedModel:
    toolkens = _toolkens(folder, loaded.tokenizer)
    chat = None if toolkens else _native_chat(loaded.tokenizer)
    ends = {*loaded.eos_token_ids, *(chat.stop_ids() if chat else ())}
    loaded = replace(loaded, eos_token_ids=tuple(sorted(ends)))
    loaded.model.generation_config.eos_token_id = list(loaded.eos_token_ids)
    loaded.model.generation_config.pad_token_id = loaded.pad_token_id
    template = get_response_template(loaded.tokenizer, loaded.model)
    if template is None and chat is not None:
        template = chat.response_template()
    tokens = {name: toolken(true) for name, true in learned_names(toolkens).items()}
    return ServedModel(
        name=name,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        max_positions=loaded.max_positions,
        template=template,
        write=PromptWriter(
            loaded.tokenizer, chat, writes_calls=has_toolkens(loaded.tokenizer.chat_template)
        ),
        bind=CallBinder(loaded, chat, tokens),
        toolkens=toolkens,
        call_tokens=_call_tokens(loaded, chat),
        trained=_trained(folder),
    )


def _toolkens(folder: Path, tokenizer: Any) -> dict[str, int]:
    """Return the toolkens with which the model calls; none: it calls in another form.

    A model that was trained natively after an earlier training keeps its list of toolkens. One
    that an earlier version trained has its form in no template, only in a parser beside it.
    """
    toolkens, _ = read_toolkens(folder)
    calls = has_toolkens(tokenizer.chat_template) or (folder / TOOL_PARSER_FILE).is_file()
    return toolkens if calls else {}


def _native_chat(tokenizer: Any) -> NativeChat | None:
    try:
        return NativeChat(tokenizer)
    except ToolTemplateError:
        return None


def _call_tokens(loaded: LocalModel, chat: NativeChat | None) -> list[int]:
    """Return the token that opens a call, where there is one that opens nothing else."""
    if chat is None:
        return []
    form = chat.facts.form
    opening = form.opening[len(form.started) :].strip()
    marks = [one for one in chat.kept_tokens() if one and opening.startswith(one)]
    # The same token may begin any part of a reply.
    answer = chat.text(_ANSWERED, [], add_generation_prompt=False)
    return [int(loaded.tokenizer.convert_tokens_to_ids(one)) for one in marks if one not in answer]


def _trained(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    path = folder / TOOLS_FILE
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text("utf-8"))
        found = {one["function"]["name"]: one["function"] for one in told["tools"]}
        true = {name: found[safe] for safe, name in told.get("names", {}).items()}
        return {**found, **true}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageInputError(
            f"{str(path)!r} is no list of tools ({error!r}); export the model again, or delete the"
            " file to go without"
        ) from None


@contextmanager
def _folder(target: Target, say: Callable[[str], None]) -> Iterator[Path]:
    store = open_store(target.uri)
    path = _model_path(target, store)
    if store.is_local:
        yield Path(store.path(path))
        return
    say(f"serve: fetching {store.address(path)}")
    with ScratchFolder(prefix="ste-serve-") as scratch:
        store.download_folder(path, scratch)
        yield Path(scratch)


def _model_path(target: Target, store: Any) -> str:
    if store.exists(f"{layout.TUNED_MODEL}/config.json"):
        return layout.TUNED_MODEL
    if not target.is_run and any(
        store.exists(name) for name in ("config.json", "adapter_config.json")
    ):
        return ""
    expected = "a run with a trained model"
    if not target.is_run:
        expected += ", or a model's folder with its config.json"
    raise StageInputError(
        f"{target.uri!r} holds no model that can be served: neither"
        f" {layout.TUNED_MODEL + '/config.json'!r} nor 'config.json' is there; give {expected}"
        if not target.is_run
        else f"{target.uri!r} has no {layout.TUNED_MODEL + '/config.json'!r}; run 'ste-ray train"
        f" --run {target.uri}' first, or give a model's folder in place of --run"
    )


def _name_of(uri: str) -> str:
    """Return a name after a run or a folder: the last part of its address that is no model's."""
    path = uri.rstrip("/").partition("://")[2] or str(Path(uri).resolve())
    parts = [one for one in path.split("/") if one not in ("", ".")]
    if "/".join(parts[-2:]) == layout.TUNED_MODEL and len(parts) > 2:
        parts = parts[:-2]
    return parts[-1] if parts else "model"
