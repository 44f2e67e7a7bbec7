"""The last steps of a partition: paraphrase what is kept, and format examples and training rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal

from ste_ray.core.preparing.formatting import absent_tool_row, training_rows
from ste_ray.core.preparing.paraphrasing import Paraphrase, num_paraphrases, paraphrase_flow
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, text_fingerprint
from ste_ray.runtime.windows import in_order
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.spool import Candidate


async def expand(
    candidates: Iterable[Candidate],
    texts: Mapping[str, set[int]],
    context: PrepareContext,
    outputs: Outputs,
) -> None:
    """Paraphrase and format candidates.

    Args:
        candidates: what is kept, in order.
        texts: tool -> hashes of its kept queries; those of new wordings are added.
        context: of the partition.
        outputs: takes examples, rows and ledger entries.
    """
    numbers = {tool: len(found) for tool, found in texts.items()}  # no text is there twice
    formatter = _Formatter(context, outputs, texts)
    async for candidate, paraphrases in _paraphrased(candidates, numbers, context):
        formatter.add(candidate, paraphrases)


async def _paraphrased(
    candidates: Iterable[Candidate], numbers: Mapping[str, int], context: PrepareContext
) -> AsyncIterator[tuple[Candidate, list[Paraphrase]]]:
    run_flow, section = context.run_flow, context.config.prepare

    def wanted(candidate: Candidate) -> int:
        if candidate.split == "test" and not section.paraphrase_test:
            return 0
        if candidate.tool in section.no_call.held_out_tools:
            return 0
        number = numbers[candidate.tool]
        return num_paraphrases(number, section.target_per_tool, section.max_paraphrases)

    if run_flow is None or not section.max_paraphrases:
        for candidate in candidates:
            yield candidate, []
        return

    async def ask(candidate: Candidate) -> list[Paraphrase]:
        count = wanted(candidate)
        if not count:
            return []
        query, arguments = candidate.query, candidate.arguments_json
        flow = paraphrase_flow(query, arguments, count, context.prompts)
        found: list[Paraphrase] = await run_flow(flow, f"paraphrase-{candidate.trial_id}")
        return found

    async for candidate, found in in_order(ask, candidates, context.window):
        yield candidate, found


class _Formatter:
    """Makes examples and training rows of candidates and their paraphrases."""

    def __init__(
        self, context: PrepareContext, outputs: Outputs, texts: Mapping[str, set[int]]
    ) -> None:
        self._context, self._outputs = context, outputs
        self._section = context.config.prepare
        self._texts = texts  # hashes of the tool's queries, and of the wordings that are added

    def add(self, candidate: Candidate, paraphrases: list[Paraphrase]) -> None:
        """Write what a candidate becomes."""
        if candidate.tool in self._section.no_call.held_out_tools:
            self._hold_out(candidate)
            return
        self._keep(candidate, 0)
        texts = self._texts[candidate.tool]
        for number, paraphrase in enumerate(paraphrases, start=1):
            reason, key = paraphrase.reason, hash(normalise(paraphrase.text))
            if paraphrase.kept and key in texts:
                reason = "the same query as another one of this tool"
            if reason:
                wording = candidate._replace(query=paraphrase.text)
                self._outputs.drop(wording, "paraphrase", reason, number)
            else:
                texts.add(key)
                self._keep(candidate._replace(query=paraphrase.text), number)

    def _hold_out(self, candidate: Candidate) -> None:
        """Teach that the tool is not there; nothing of it is tested."""
        split: Literal["train", "validation"] = (
            "validation" if candidate.split == "validation" else "train"
        )
        row = absent_tool_row(candidate.query, candidate.tool, split, self._context.prompts)
        self._outputs.add_row(row)
        self._outputs.keep(candidate, "no call")

    def _keep(self, candidate: Candidate, number: int) -> None:
        example = Example(
            example_id=text_fingerprint(candidate.trial_id, candidate.query),
            group_id=candidate.group_id,
            trial_id=candidate.trial_id,
            tool=candidate.tool,
            query=candidate.query,
            origin="paraphrase" if number else "explored",
            arguments_json=candidate.arguments_json,
            observation=candidate.observation,
            final_answer=candidate.final_answer,
            split=candidate.split,
        )
        self._outputs.keep(candidate, "split", number)
        self._outputs.add_example(example)
        if example.split != "test" and self._section.mix.tools:
            prompts, responses = self._context.prompts, self._section.tool_responses
            for row in training_rows(example, prompts, responses):
                self._outputs.add_row(row)
