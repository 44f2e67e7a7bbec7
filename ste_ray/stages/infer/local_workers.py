"""The Ray Data actor of the infer stage that holds a local model.

Decoding blocks, so it runs in a thread beside the event loop, which meanwhile reports how far it
is, keeps what is finished, and notices when no token comes any more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ste_ray.core.effects import ToolResult
from ste_ray.core.inferring.answering import call_to_execute
from ste_ray.core.inferring.settings import Query, Setting
from ste_ray.core.records import Prediction
from ste_ray.generation.model import LocalModel
from ste_ray.generation.predict import AnsweredQuery, Predictor, observed
from ste_ray.ports import ToolExecutor
from ste_ray.process.memory import give_back_freed
from ste_ray.runtime.bounded import bounded
from ste_ray.stages.infer.models import configured_decoding, load_named_model
from ste_ray.stages.infer.pieces import Pieces
from ste_ray.stages.infer.watching import Watch
from ste_ray.stages.infer.workers import Worker, WorkerPlan


class LocalWorker(Worker):
    """Holds one local model at a time and decodes in batches."""

    def __init__(self, plan: WorkerPlan) -> None:
        super().__init__(plan)
        self._model_name = ""
        self._model: LocalModel | None = None
        self._predictor: tuple[str, Predictor] | None = None
        self._watch = Watch("", plan.config.infer.stall_seconds)

    async def _answer(self, setting: Setting, queries: Sequence[Query], pieces: Pieces) -> None:
        predictor = self._predictor_of(setting)
        section = self._plan.config.infer

        def meanwhile() -> None:
            self._progress.tell()
            pieces.flush_if_due()

        self._watch = Watch(f"setting {setting.name!r}", section.stall_seconds, meanwhile)
        prompts = predictor.prompts(queries)
        lengths = [predictor.num_tokens(prompt) for prompt in prompts]
        weight = sum(lengths) + len(queries) * section.max_new_tokens
        self._progress.begin_partition(setting.name, len(queries), weight)
        async with self._plan.calls(self._material, self._name) as calls:
            for places in predictor.batches(prompts):
                prompt_tokens = sum(lengths[place] for place in places)
                answer_tokens = len(places) * section.max_new_tokens
                self._progress.begin_batch(prompt_tokens, answer_tokens)
                batch = [queries[place] for place in places], [prompts[place] for place in places]
                answered = await self._watch.run(predictor.answer, *batch)
                predictions = await self._concluded(predictor, setting, answered, calls)
                pieces.add(predictions)
                give_back_freed()
                self._progress.end_batch(len(places), prompt_tokens + answer_tokens)
                pieces.flush_if_due()

    async def _concluded(
        self,
        predictor: Predictor,
        setting: Setting,
        answered: Sequence[AnsweredQuery],
        calls: ToolExecutor,
    ) -> list[Prediction]:
        """Return the predictions, where calls are executed with what they returned.

        The model answers after that, unless it was trained on calls alone: it writes another then.
        """
        executed = self._plan.executed_in(setting)
        if executed is None:
            return [one.prediction for one in answered]
        results = await self._execute(answered, calls, executed)
        if setting.name in self._plan.wordless:
            return observed(answered, results)
        return await self._watch.run(predictor.conclude, answered, results)

    async def _execute(
        self, answered: Sequence[AnsweredQuery], calls: ToolExecutor, execute: frozenset[str]
    ) -> dict[int, ToolResult]:
        """Call what was chosen of the tools that may be; return the results by place."""
        chosen = {
            place: call
            for place, one in enumerate(answered)
            if (call := call_to_execute(one.prediction, execute)) is not None
        }
        results = await bounded(
            [lambda call=call: calls.call(call) for call in chosen.values()],  # type: ignore[misc]
            self._plan.config.llm.max_concurrency,
        )
        return dict(zip(chosen, results, strict=True))

    def _on_tokens(self, number: int) -> None:
        self._progress.count_tokens(number)
        self._watch.step()

    def _predictor_of(self, setting: Setting) -> Predictor:
        if self._predictor is None or self._predictor[0] != setting.name:
            config = self._plan.config
            made = Predictor(
                self._load(setting.model),
                setting,
                self._material_of(setting),
                configured_decoding(config),
                config.infer.constrained,
                self._on_tokens,
            )
            self._predictor = setting.name, made
        return self._predictor[1]

    def _load(self, name: str) -> LocalModel:
        # Not in the constructor: Ray hands on only the text of an error that is raised there.
        if self._model is None or self._model_name != name:
            self._model = self._predictor = None  # frees the memory of the other model first
            torch.set_num_threads(self._plan.config.infer.threads_per_worker)
            self._model = load_named_model(self._plan.store, name, self._plan.config)
            self._model_name = name
        return self._model
