"""Makes a run of the published study's training data: its ``explore`` holds what was imported.

From there on it is a run like any other: prepare selects, filters, paraphrases, splits and formats.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ste_ray.core import layout
from ste_ray.core.executor_specs import BmtoolsFunction
from ste_ray.core.records import Episode, fingerprint
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.imports.tool_data import ToolData, read_tool_data
from ste_ray.stages.explore.parts import count_episodes
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import RunLock
from ste_ray.store.manifest import StageManifest, begin_stage, declare_stage, read_manifest
from ste_ray.store.tables import to_table, write_records

_EPISODES_PER_PART = 1000
Describe = Callable[[str, str], ToolSpec]  # name, description in the file


def import_tool_data(
    store: RunStore, path: str, describe: Describe, say: Callable[[str], None]
) -> StageManifest:
    """Import a file into a new run; a second time there is nothing to do.

    Args:
        store: the run.
        path: of the file.
        describe: returns a tool of a name and its description in the file, which may be empty;
            raises ToolSpecError where that says too little.
        say: tells the person who waits.

    Raises:
        ConfigError: the file cannot be used.
        RunConflictError: the run holds something else.
    """
    started = time.time()
    data = read_tool_data(path)
    fields = {"imported": {"form": "tool-data", "sha256": data.fingerprint}}
    with RunLock(store, "import") as lock:
        state = begin_stage(store, "explore", fields, fingerprint(fields), {})
        if state == "complete":
            say(f"import: {path!r} was imported into {store.uri} already, nothing to do")
            manifest = read_manifest(store, "explore")
            assert manifest is not None
            return manifest
        counts = _write(store, data, describe)
        lock.check()
        manifest = declare_stage(
            store,
            "explore",
            fields,
            counts,
            started_at=started,
            notes=_notes(Path(path).name, data),
        )
    for reason, count in data.skipped.most_common():
        say(
            f"import: {count} rows left out: {reason} (the first is row "
            f"{data.examples_of_skipped[reason]})"
        )
    return manifest


def _write(store: RunStore, data: ToolData, describe: Describe) -> dict[str, Any]:
    specs = [_spec(tool, data, describe) for tool in sorted(data.episodes)]
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs])
    if data.rounds:
        store.write_json(layout.IMPORTED_ROUNDS, data.rounds)
    counts: Counter[str] = Counter()
    for number, episodes in enumerate(_parts(data)):
        write_records(store, layout.part(layout.EPISODES, number), episodes, Episode)
        count_episodes(to_table(episodes, Episode), counts)
    return {
        "tools": counts["tools"],
        "episodes": counts["episodes"],
        "trials": counts["trials"],
        "tool_calls": counts["tool_calls"],
        "rounds": [len(tools) for tools in data.rounds],
        "skipped": dict(data.skipped.most_common()),
    }


def _parts(data: ToolData) -> Iterator[Sequence[Episode]]:
    """Yield the episodes in order of their tools, whole tools in a part."""
    part: list[Episode] = []
    for tool in sorted(data.episodes):
        part += data.episodes[tool]
        if len(part) >= _EPISODES_PER_PART:
            yield part
            part = []
    if part:
        yield part


def _spec(tool: str, data: ToolData, describe: Describe) -> ToolSpec:
    """Return the specification that a row's description gives, or what its calls show."""
    text = data.descriptions.get(tool, "")
    try:
        return describe(tool, text)
    except ToolSpecError:
        pass  # the text is shown to models as it stands; only its arguments are not known
    calls = (turn.arguments_json for one in data.episodes[tool] for turn in one.trials[0].turns)
    return ToolSpec(
        name=tool,
        description=text or "(the imported data do not describe this tool)",
        parameters=_seen_parameters(calls),
        executor=BmtoolsFunction(function=tool),
    )


def _seen_parameters(calls: Iterable[str]) -> dict[str, Any]:
    """Return a schema of the arguments that calls have, of any type and none of them required."""
    names = {name: None for call in calls if call for name in json.loads(call)}
    return {"type": "object", "properties": {name: {} for name in names}}


def _notes(name: str, data: ToolData) -> tuple[str, ...]:
    notes = [f"imported from {name!r}: nothing was asked or called in this run"]
    skipped = data.skipped.total()
    if skipped:
        notes.append(f"{skipped} rows of the imported file could not be used")
    if data.moved:
        notes.append(
            f"{len(data.moved)} tools stand in several batches and belong to their first one, "
            f"{min(data.moved)!r} among them"
        )
    return tuple(notes)
