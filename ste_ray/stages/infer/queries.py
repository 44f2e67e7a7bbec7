"""The test queries of a run, with what was retrieved for them and what prompts are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ste_ray.core import layout
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting
from ste_ray.core.records import Example, Retrieved, TestDialog
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.store.tables import read_records


def load_queries(
    context: StageContext, settings: Sequence[Setting]
) -> tuple[list[Query], PromptMaterial]:
    """Return the test queries with what belongs to them, and what prompts are made of."""
    store = context.store
    examples = {item.example_id: item for item in read_records(store, layout.EXAMPLES, Example)}
    tests = sorted(key for key, item in examples.items() if item.split == "test")
    if not tests:
        raise StageInputError(
            f"there is no test example among the {len(examples)} in"
            f" {store.address(layout.EXAMPLES)!r}; set prepare.test_fraction, in another run, or"
            " bring a test set with 'ste-ray import tests'"
        )
    if store.exists(layout.EDITED_MARKER):
        context.notes.append("the tests are those of a file that 'ste-ray tests import' read")
    retrieved = _retrieved(context, examples) if _any_retrieval(settings) else {}
    dialogs = _dialogs(context, tests) if any(one.prompt == "dialog" for one in settings) else {}
    queries = [
        Query(
            example=examples[key],
            tools=tuple(hit.key for hit in retrieved[key].tools)
            if key in retrieved
            else dialogs[key].candidates
            if key in dialogs
            else (),
            demonstrations=tuple(hit.key for hit in retrieved[key].demonstrations)
            if key in retrieved
            else (),
            dialog=dialogs[key].messages if key in dialogs else (),
        )
        for key in tests
    ]
    shown = {key for query in queries for key in query.demonstrations}
    material = PromptMaterial(
        specs=context.specs,
        demonstrations={key: examples[key] for key in shown},
        prompts=context.prompts,
        nearest_last=context.config.retrieve.order == "nearest_last",
        tool_choice=context.config.infer.tool_choice,
        keep_reasoning=bool(context.config.llm.keep_reasoning),
    )
    return queries, material


def _any_retrieval(settings: Sequence[Setting]) -> bool:
    return any(setting.needs_retrieval for setting in settings)


def _retrieved(context: StageContext, examples: Mapping[str, Example]) -> dict[str, Retrieved]:
    """Return what was retrieved for each test query, all of it known."""
    retrieved = read_records(context.store, layout.RETRIEVED, Retrieved)
    demonstrations = {hit.key for item in retrieved for hit in item.demonstrations}
    tools = {hit.key for item in retrieved for hit in item.tools}
    tests = {item.example_id for item in retrieved}
    for what, known, keys in (
        ("example", examples, demonstrations | tests),
        ("tool", context.specs, tools),
    ):
        if missing := sorted(keys - known.keys()):
            raise StageInputError(
                f"{context.store.address(layout.RETRIEVED)!r} names the unknown {what}"
                f" {missing[0]!r}; it was made from other data: run everything from prepare on"
                " in another run"
            )
    return {item.example_id: item for item in retrieved}


def _dialogs(context: StageContext, tests: Sequence[str]) -> dict[str, TestDialog]:
    store = context.store
    found = (
        {item.example_id: item for item in read_records(store, layout.DIALOGS, TestDialog)}
        if store.list(layout.DIALOGS)
        else {}
    )
    missing = [key for key in tests if key not in found]
    if missing:
        raise StageInputError(
            f"{len(missing)} test queries have no dialog in {store.address(layout.DIALOGS)!r};"
            " bring rows with 'dialog_history' by 'ste-ray import tests', or use another prompt"
            " than 'dialog'"
        )
    return found
