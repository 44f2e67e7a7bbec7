"""Makes a run of a test set: retrieve, infer and evaluate go on from there, nothing is trained.

Its ``explore`` holds the tools and its ``prepare`` the test queries, and as training examples the
demonstrations, if any are given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ste_ray.core import layout
from ste_ray.core.records import Example, TestDialog, fingerprint
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import toolken
from ste_ray.errors import StageInputError, ToolSpecError
from ste_ray.imports.test_sets import TestSet, call_group
from ste_ray.imports.tool_data import ToolData
from ste_ray.stages.imports.training_data import Describe
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import RunLock
from ste_ray.store.manifest import (
    StageManifest,
    begin_stage,
    declare_stage,
    manifest_fingerprint,
    read_manifest,
)
from ste_ray.store.tables import write_records

_NOTES = ("the test set was imported: nothing was explored in this run",)


def import_tests(
    store: RunStore,
    tests: TestSet,
    demonstrations: ToolData | None,
    tools: Mapping[str, ToolSpec],
    describe: Describe,
    say: Callable[[str], None],
) -> StageManifest:
    """Import a test set into a new run; a second time there is nothing to do.

    Args:
        store: the run.
        tests: what was read.
        demonstrations: of calls, to show in prompts; None: none.
        tools: known tools by name; empty: those that the test set names, as it describes them.
        describe: returns a tool of a name and its description in the file; raises ToolSpecError
            where that says too little.
        say: tells the person who waits.

    Raises:
        StageInputError: a right tool is not known.
        RunConflictError: the run holds something else.
    """
    started = time.time()
    specs = dict(tools) or _described(tests, describe)
    if not specs:
        raise StageInputError(
            "no row of the test set names a tool, and without tools restraint cannot be tested; "
            "give those that the model shall leave alone by --tools"
        )
    unknown = sorted(tests.tools - specs.keys())
    if unknown:
        raise StageInputError(
            f"the right tool {unknown[0]!r} of a test query is not known"
            f" ({len(unknown)} such tools); describe it by --tools or --descriptions, or in the"
            " rows' 'api_descriptions'"
        )
    examples = [*tests.examples, *_training(demonstrations, specs)]
    fields = {
        "imported": {
            "form": "tests",
            "sha256": tests.fingerprint,
            "demonstrations": demonstrations.fingerprint if demonstrations else "",
            "tools": fingerprint([spec.fingerprint for _, spec in sorted(specs.items())]),
        }
    }
    with RunLock(store, "import") as lock:
        before = begin_stage(store, "explore", fields, fingerprint(fields), {})
        if before == "complete" and (manifest := read_manifest(store, "prepare")) is not None:
            say(f"import: the test set was imported into {store.uri} already, nothing to do")
            return manifest
        listed = [spec.model_dump(mode="json") for _, spec in sorted(specs.items())]
        store.write_json(layout.TOOLS, listed)
        write_records(store, layout.part(layout.EXAMPLES, 0), examples, Example)
        if tests.dialogs:
            path = layout.part(layout.DIALOGS, 0)
            write_records(store, path, tests.dialogs, TestDialog)
        store.write_json(
            layout.PREPARED_TOOLS, [_listed(spec) for _, spec in sorted(specs.items())]
        )
        lock.check()
        explored = declare_stage(
            store, "explore", fields, {"tools": len(specs)}, started_at=started, notes=_NOTES
        )
        counts = {
            "tests": len(tests.examples),
            "tools": len(specs),
            "dialogs": len(tests.dialogs),
            "demonstrations": len(examples) - len(tests.examples),
        }
        if restraint := sum(not example.needs_call for example in tests.examples):
            counts["no_call_tests"] = restraint
        inputs = {"explore": manifest_fingerprint(explored)}
        begin_stage(store, "prepare", fields, fingerprint(fields), inputs)
        return declare_stage(
            store, "prepare", fields, counts, started_at=started, inputs=inputs, notes=_NOTES
        )


def _described(tests: TestSet, describe: Describe) -> dict[str, ToolSpec]:
    """Return the tools that the rows name, in order of their names."""
    names = sorted(tests.tools | tests.candidates)
    specs = {}
    for name in names:
        try:
            specs[name] = describe(name, tests.descriptions.get(name, ""))
        except ToolSpecError:
            continue  # a candidate that nothing describes cannot be shown
    return specs


def _training(data: ToolData | None, specs: Mapping[str, ToolSpec]) -> list[Example]:
    """Return the rows of training data as examples to demonstrate calls with."""
    found = []
    for tool, episodes in sorted(data.episodes.items()) if data else ():
        if tool not in specs:
            continue
        for episode in episodes:
            trial = episode.trials[0]
            call = trial.turns[0]
            found.append(
                Example(
                    example_id=f"demonstration-{episode.episode_id}",
                    group_id=call_group(tool, trial.query, call.arguments_json),
                    trial_id=trial.trial_id,
                    tool=tool,
                    query=trial.query,
                    origin="explored",
                    arguments_json=call.arguments_json,
                    observation=call.observation,
                    final_answer=trial.final_answer,
                    split="train",
                )
            )
    return found


def _listed(spec: ToolSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "toolken": toolken(spec.name),
        "description": spec.description,
    }
