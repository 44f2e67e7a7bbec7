"""The infer stage: batch inference on the test split, by pools of Ray Data actors.

Inputs: ``prepare/examples``, where a setting shows them ``retrieve/retrieved`` and
``prepare/dialogs``, and the models of ``train``. Output: ``infer/predictions``, one folder a
setting. Actors write what they have answered as Parquet pieces of their own, so a stage that was
cut off goes on with the queries that no piece holds; what an endpoint answered is in a journal
besides. Of a setting that is complete the pieces are put in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray

from ste_ray.core import layout
from ste_ray.core.inferring.settings import Query, Setting, parse_settings
from ste_ray.core.inferring.variants import check_repeats
from ste_ray.core.records import MADE_CALLS
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import ConfigError
from ste_ray.generation.config import InferConfig
from ste_ray.stages.base import StageContext
from ste_ray.stages.cluster.nodes import require_place
from ste_ray.stages.infer.local_workers import LocalWorker
from ste_ray.stages.infer.needs import check_model, check_native, described_need, need_of_one
from ste_ray.stages.infer.pieces import answered, put_in_order
from ste_ray.stages.infer.progress import progress
from ste_ray.stages.infer.queries import load_queries
from ste_ray.stages.infer.variants import all_that_is_asked
from ste_ray.stages.infer.workers import EndpointWorker, Materials, WorkerPlan
from ste_ray.stages.shared.final_answers import words_answers
from ste_ray.stages.shared.model_session import open_models
from ste_ray.stages.shared.reasoning import journal_reasoning
from ste_ray.stages.shared.slots import shared_slots
from ste_ray.stages.shared.tools import permissions, why_not_executed
from ste_ray.tools.config import ToolsConfig

_COUNTED = (
    "queries",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "final_prompt_tokens",
    "final_completion_tokens",
    "tools_left_out",
    "demonstrations_left_out",
    "executed",
)
# Enough for batches of similar length. What is finished of a partition is kept before its end.
_BATCHES_PER_PARTITION = 8
# Many, because a partition waits for its slowest answer; what is answered is in the journal.
_QUERIES_PER_ENDPOINT_PARTITION = 4096


def run(context: StageContext) -> dict[str, Any]:
    """Answer the test queries in all settings; see the module's docstring."""
    config, store = context.config.infer, context.store
    asked = parse_settings(config.settings, config.models)
    _check_executed(config)
    check_repeats(asked, config.repeats, config.temperature)
    for setting in asked:
        check_model(store, setting, context.config)
        if told := check_native(store, setting, context.config):
            context.notes.append(told)
    queries, material = load_queries(context, asked)
    everything = all_that_is_asked(context, asked, queries, material)
    settings = list(everything.queries)
    needless = sum(not query.example.needs_call for query in queries)
    if needless and config.constrained:
        context.notes.append(
            f"{needless} test requests need no call, but infer.constrained=true leaves local models"
            " nothing else: their needless calls say nothing"
        )
    if wordless := sorted(_wordless(context, asked)):
        context.notes.append(
            f"no final answers were asked of {', '.join(wordless)}, trained on calls alone"
            " (prepare.tool_responses, prepare.response_fraction): what a tool returned is the"
            " answer there"
        )
    todo = {}
    for setting in sorted(settings, key=lambda setting: setting.model):  # few changes of model
        if store.exists(layout.predictions_marker(setting.folder_name)):
            context.progress(f"infer: {setting.name} is already complete")
            continue
        done = answered(store, setting)
        own = everything.queries[setting]
        todo[setting] = [query for query in own if query.example.example_id not in done]
        number = len(todo[setting])
        context.progress(f"infer: {setting.name}, {number} of {len(own)} queries to answer")
    spent = _infer(context, todo, everything.materials)
    counts = {
        setting: store.read_json(layout.predictions_marker(setting.folder_name))
        for setting in settings
    }
    store.delete_folder(layout.PREDICTION_PIECES)  # what is in them is in the predictions now
    variants = {one.name: found for one, found in counts.items() if one.variant}
    return {
        "queries": len(queries),
        "settings": {one.name: found for one, found in counts.items() if not one.variant},
        **({"variants": variants} if variants else {}),
        **spent,
    }


def _check_executed(config: InferConfig) -> None:
    """Check that calls are executed in settings that there are.

    Raises:
        ConfigError: one is not among ``infer.settings``.
    """
    if isinstance(config.execute, bool):
        return
    for name in config.execute:
        if name not in config.settings:
            raise ConfigError(
                f"infer.execute names the setting {name!r}{did_you_mean(name, config.settings)};"
                f" allowed: true, false, or a list of infer.settings: {', '.join(config.settings)}"
            )


def _infer(
    context: StageContext, todo: Mapping[Setting, Sequence[Query]], materials: Materials
) -> dict[str, Any]:
    """Answer what is left to answer; return what it cost."""
    spent = _answer_all(context, todo, materials) if any(todo.values()) else {}
    for setting, queries in todo.items():
        if not queries:  # all was answered before, only the marker was missing
            _complete(context, setting, 0.0, 0)
    return spent


def _answer_all(
    context: StageContext, todo: Mapping[Setting, Sequence[Query]], materials: Materials
) -> dict[str, Any]:
    """Answer with the workers that this takes, and complete each setting as soon as it is."""
    config = context.config.infer
    rows = {setting.name: len(queries) for setting, queries in todo.items() if queries}
    completion = _Completion(context, todo)
    local = _partitions(todo, config, endpoint=False)
    asked = _partitions(todo, config, endpoint=True)
    spent: dict[str, Any] = {}
    if local:
        require_place(need_of_one(config))
    with ExitStack() as stack:
        tools, execute = _executable(context)
        specs = [context.specs[name] for name in sorted(execute or ())]
        plan = WorkerPlan(
            config=context.config.model_copy(update={"tools": tools}),
            store=context.store,
            epoch=context.epoch,
            shared=[ray.put(dict(materials))],
            execute=execute,
            wordless=_wordless(context, todo),
            report=stack.enter_context(progress(context.progress, rows, described_need(config))),
            slots=stack.enter_context(shared_slots(specs)),
        )
        if asked:
            models, limiting = stack.enter_context(
                open_models(
                    context,
                    "infer",
                    context.config.stage_roles("infer"),
                    layout.INFER_JOURNALS,
                    config.num_workers,
                )
            )
            for result in _answers(asked, EndpointWorker, (plan, models), config, endpoint=True):
                completion.take(result)
            spent = {"spent": limiting.spent()}
            spent |= journal_reasoning(context, "infer", models.endpoints, layout.INFER_JOURNALS)
        if local:
            for result in _answers(local, LocalWorker, (plan,), config, endpoint=False):
                completion.take(result)
    return spent


class _Completion:
    """Counts what is left of each setting, and completes those of which nothing is."""

    def __init__(self, context: StageContext, todo: Mapping[Setting, Sequence[Query]]) -> None:
        self._context = context
        self._settings = {setting.name: setting for setting in todo}
        self._totals = {setting.name: len(queries) for setting, queries in todo.items()}
        self._left = dict(self._totals)
        self._seconds = dict.fromkeys(self._totals, 0.0)

    def take(self, result: Mapping[str, Any]) -> None:
        """Take what a worker says of a partition that is answered."""
        name = result["setting"]
        self._left[name] -= result["queries"]
        self._seconds[name] += result["seconds"]
        self._context.progress(f"infer: {name}, {self._left[name]} left to answer")
        if self._left[name] == 0:
            setting = self._settings[name]
            _complete(self._context, setting, self._seconds[name], self._totals[name])


def _executable(context: StageContext) -> tuple[ToolsConfig, frozenset[str] | None]:
    """Return how tools are called, and whose calls are executed; None: it is not asked for.

    Raises:
        ConfigError: no tool of the run can be called, or may be.
    """
    config = context.config
    if not config.infer.execute:
        return config.tools, None
    # Workers know the configuration only, not the files.
    allow, hosts = permissions(config.tools)
    allowed = {name for name, spec in context.specs.items() if not why_not_executed(spec, allow)}
    if not allowed:
        raise ConfigError(
            "infer.execute is set, but no tool of this run may be called; allow tools with effects"
            " by tools.allow or by allow: in their file, or set infer.execute=false"
        )
    others = sorted(context.specs.keys() - allowed)
    if others:
        context.notes.append(
            f"calls of {len(others)} tools were not executed, {others[0]!r} among them: they are"
            " played by a model, cannot be called here, or have effects that nobody allowed"
        )
    return config.tools.model_copy(update={"allow_hosts": hosts}), frozenset(allowed)


def _wordless(context: StageContext, settings: Iterable[Setting]) -> frozenset[str]:
    """Return the settings whose calls are executed, but whose model never learned to answer."""
    config = context.config.infer
    return frozenset(
        setting.name
        for setting in settings
        if config.executes(setting.name)
        and not words_answers(context.store, setting, config.models)
    )


def _partitions(
    todo: Mapping[Setting, Sequence[Query]], config: InferConfig, endpoint: bool
) -> list[dict[str, Any]]:
    """Cut queries into partitions, rows of the dataset; no worker is left without one.

    Only the settings that an endpoint answers, or only the others.
    """
    local_size = config.batch_size * _BATCHES_PER_PARTITION
    most = _QUERIES_PER_ENDPOINT_PARTITION if endpoint else local_size
    rows = []
    for setting, queries in todo.items():
        if setting.is_endpoint == endpoint:
            size = max(1, min(-(-len(queries) // config.num_workers), most))
            texts = [query.model_dump_json() for query in queries]
            rows += [
                {**_named(setting), "queries": texts[start : start + size]}
                for start in range(0, len(texts), size)
            ]
    return rows


def _named(setting: Setting) -> dict[str, str]:
    """Return a setting as a worker finds it in a row."""
    return {"setting": replace(setting, variant="").name, "variant": setting.variant}


def _answers(
    rows: Sequence[dict[str, Any]],
    worker: Any,
    arguments: tuple[Any, ...],
    config: InferConfig,
    endpoint: bool,
) -> Iterator[dict[str, Any]]:
    """Yield what the workers return, a row a partition, as they get done."""
    gpus = config.gpus_per_worker if config.use_gpu and not endpoint else None
    dataset = ray.data.from_arrow([pa.Table.from_pylist([row]) for row in rows]).map_batches(
        worker,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(config.num_workers, len(rows))),
        num_cpus=0.5 if endpoint else config.threads_per_worker,
        num_gpus=gpus,
    )
    for batch in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
        yield from batch.to_pylist()


def _complete(context: StageContext, setting: Setting, seconds: float, num_timed: int) -> None:
    """Put a setting's predictions in order, and write its counts as the sign that it is complete.

    The seconds are those that its last queries took workers.
    """
    counts = dict.fromkeys(_COUNTED, 0)
    for item in put_in_order(context.store, setting, context.check_owner):
        counts["queries"] += 1
        counts["errors"] += bool(item.error)
        counts["executed"] += item.observation_status in MADE_CALLS
        for name in _COUNTED[2:-1]:
            counts[name] += getattr(item, name)
    timing = {"seconds": round(seconds, 3), "queries": num_timed}
    context.store.write_json(
        layout.predictions_marker(setting.folder_name), {**counts, "timing": timing}
    )
