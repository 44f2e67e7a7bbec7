"""The last steps of a partition: paraphrase what is kept, and format examples and training rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Literal

from ste_ray.core.preparing.corrections import failed_of_text
from ste_ray.core.preparing.formatting import absent_tool_row, training_rows
from ste_ray.core.preparing.mixing import in_share
from ste_ray.core.preparing.paraphrasing import Paraphrase, num_paraphrases, paraphrase_flow
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, text_fingerprint
from ste_ray.runtime.windows import in_order
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.spool import Draft


async def expand(
    drafts: Iterable[Draft],
    texts: Mapping[str, set[int]],
    corrected: Collection[str],
    context: PrepareContext,
    outputs: Outputs,
) -> None:
    """Paraphrase and format drafts.

    Args:
        drafts: what is kept, in order.
        texts: tool -> hashes of its kept queries; those of new wordings are added.
        corrected: ids of the trials whose corrections are trained.
        context: of the partition.
        outputs: takes examples, rows and ledger entries.
    """
    numbers = {tool: len(found) for tool, found in texts.items()}  # no text is there twice
    formatter = _Formatter(context, outputs, texts, corrected)
    async for draft, paraphrases in _paraphrased(drafts, numbers, context):
        formatter.add(draft, paraphrases)


async def _paraphrased(
    drafts: Iterable[Draft], numbers: Mapping[str, int], context: PrepareContext
) -> AsyncIterator[tuple[Draft, list[Paraphrase]]]:
    run_flow, section = context.run_flow, context.config.prepare

    def wanted(draft: Draft) -> int:
        if draft.split == "test" and not section.paraphrase_test:
            return 0
        if draft.tool in section.no_call.held_out_tools:
            return 0
        number = numbers[draft.tool]
        return num_paraphrases(number, section.target_per_tool, section.max_paraphrases)

    if run_flow is None or not section.max_paraphrases:
        for draft in drafts:
            yield draft, []
        return

    async def ask(draft: Draft) -> list[Paraphrase]:
        count = wanted(draft)
        if not count:
            return []
        query, arguments = draft.query, draft.arguments_json
        flow = paraphrase_flow(query, arguments, count, context.prompts)
        found: list[Paraphrase] = await run_flow(flow, f"paraphrase-{draft.trial_id}")
        return found

    async for draft, found in in_order(ask, drafts, context.window):
        yield draft, found


class _Formatter:
    """Makes examples and training rows of drafts and their paraphrases."""

    def __init__(
        self,
        context: PrepareContext,
        outputs: Outputs,
        texts: Mapping[str, set[int]],
        corrected: Collection[str],
    ) -> None:
        self._context, self._outputs = context, outputs
        self._section = context.config.prepare
        self._texts = texts  # hashes of the tool's queries, and of the wordings that are added
        self._corrected = corrected

    def add(self, draft: Draft, paraphrases: list[Paraphrase]) -> None:
        """Write what a draft becomes."""
        if draft.tool in self._section.no_call.held_out_tools:
            self._hold_out(draft)
            return
        self._keep(draft, 0)
        texts = self._texts[draft.tool]
        for number, paraphrase in enumerate(paraphrases, start=1):
            reason, key = paraphrase.reason, hash(normalise(paraphrase.text))
            if paraphrase.kept and key in texts:
                reason = "the same query as another one of this tool"
            if reason:
                wording = draft._replace(query=paraphrase.text)
                self._outputs.drop(wording, "paraphrase", reason, number)
            else:
                texts.add(key)
                self._keep(draft._replace(query=paraphrase.text), number)

    def _hold_out(self, draft: Draft) -> None:
        """Teach that the tool is not there; nothing of it is tested."""
        split: Literal["train", "validation"] = (
            "validation" if draft.split == "validation" else "train"
        )
        row = absent_tool_row(draft.query, draft.tool, split, self._context.prompts)
        self._outputs.add_row(row)
        self._outputs.keep(draft, "no call")

    def _keep(self, draft: Draft, number: int) -> None:
        example = Example(
            example_id=text_fingerprint(draft.trial_id, draft.query),
            group_id=draft.group_id,
            trial_id=draft.trial_id,
            tool=draft.tool,
            query=draft.query,
            origin="paraphrase" if number else "explored",
            arguments_json=draft.arguments_json,
            observation=draft.observation,
            final_answer=draft.final_answer,
            split=draft.split,
            failed_calls=failed_of_text(draft.failed_json)
            if draft.trial_id in self._corrected
            else (),
        )
        self._outputs.keep(draft, "split", number)
        self._outputs.add_example(example)
        if example.split != "test" and self._section.mix.tools:
            responses = self._trains_response(example)
            for row in training_rows(example, self._context.prompts, responses):
                self._outputs.add_row(row)

    def _trains_response(self, example: Example) -> bool:
        section, seed = self._section, self._context.config.seed
        return section.tool_responses and in_share(
            example.example_id, section.response_fraction, seed, "final answers"
        )
