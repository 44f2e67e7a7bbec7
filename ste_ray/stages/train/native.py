"""What native rows are made with: the tools, which of them a row offers, and the prompt."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow.dataset as pads

from ste_ray.core import layout
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
from ste_ray.retrieval.offering import ToolOffers
from ste_ray.stages.base import StageContext
from ste_ray.stages.train.rows import rows_folder
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.tables import parquet_parts
from ste_ray.training.native_form import NativeForm


def native_form(context: StageContext, tokenizer: Any, tools: Collection[str]) -> NativeForm:
    """Return what writes the rows of a run natively, checked before any is.

    Args:
        context: of the stage.
        tokenizer: whose template knows tools.
        tools: the names of those in the data.

    Raises:
        ConfigError: the base's template cannot write what is to be trained.
        StageInputError: the run does not describe a tool.
    """
    if unknown := sorted(set(tools) - context.specs.keys()):
        raise StageInputError(
            f"{context.store.address(layout.TOOLS)!r} does not describe the tool {unknown[0]!r} of"
            " the data, which train.format='native' shows in prompts; run explore and prepare"
            " again, in another run"
        )
    specs = {name: context.specs[name] for name in sorted(tools)}
    config = context.config.train
    encoder = make_encoder(HASHED_NGRAMS)
    choice = ToolOffers(encoder, list(specs.values()), config.tools_per_row, context.config.seed)
    form = NativeForm(tokenizer, specs, choice, context.prompts)
    form.check()
    if not form.writes_results and _has_results(context.store):
        raise ConfigError(
            "the chat template of the base model does not write what a tool returned, so final"
            " answers and corrections cannot be trained; give its tokenizer one that does, prepare"
            " with prepare.tool_responses=false and prepare.trajectories=last_call in another run,"
            " or set train.format=toolken"
        )
    return form


def _has_results(store: RunStore) -> bool:
    """Whether there are rows in whose dialog a tool has returned something."""
    wanted = pads.field("kind").isin(["final_answer", "mended_call", "mended_answer"])
    for part in parquet_parts(store, rows_folder(store)):
        with reading(store, part):
            rows = pads.dataset(store.path(part), filesystem=store.filesystem, format="parquet")
            if rows.count_rows(filter=wanted):
                return True
    return False
