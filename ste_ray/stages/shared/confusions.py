"""Which tools a model called in place of others, as an evaluated run says."""

from __future__ import annotations

from ste_ray.core import layout
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.errors import ConfigError
from ste_ray.store.artifacts import open_store


def confused_tools(uri: str, key: str = "prepare.tests.confused_in") -> dict[str, list[str]]:
    """Return which tools an evaluated run called where another was right, most often first.

    Args:
        uri: of the run.
        key: the key of the configuration that names it.

    Raises:
        ConfigError: it is not evaluated.
    """
    store = open_store(uri)
    if not store.exists(layout.EVALUATION_SUMMARY):
        raise ConfigError(f"{key}={uri!r} is no evaluated run; give one, or leave it out")
    summary = EvaluationSummary.model_validate(store.read_json(layout.EVALUATION_SUMMARY))
    counts: dict[str, dict[str, int]] = {}
    for one in summary.settings:
        for cell in one.confusion:
            if cell.kind == "tool" and cell.predicted != cell.tool:
                found = counts.setdefault(cell.tool, {})
                found[cell.predicted] = found.get(cell.predicted, 0) + cell.count
    return {
        tool: sorted(found, key=lambda name: (-found[name], name))
        for tool, found in sorted(counts.items())
    }


def confused_pairs(uri: str) -> dict[str, str]:
    """Return for each tool of a confused pair the other one; empty without a run.

    Raises:
        ConfigError: it is not evaluated.
    """
    found = confused_tools(uri, "explore.confused_in") if uri else {}
    right = {tool: others[0] for tool, others in found.items()}
    return {other: tool for tool, other in right.items()} | right
