"""Prometheus metrics of an exploration, through the metrics port of the Ray node it runs on."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ste_ray.stages.explore.messages import Status

_COUNTERS = {
    "model": ("ste_model_replies", "Replies of models that were asked for and recorded."),
    "tool": ("ste_tool_calls", "Calls of tools that were made."),
    "tool_failures": ("ste_tool_failures", "Calls of tools that were made and failed."),
    "tool_not_made": ("ste_tool_calls_not_made", "Calls refused before the tool was called."),
    "replayed": ("ste_answers_replayed", "Answers taken from the journal instead of asked for."),
    "prompt_tokens": ("ste_prompt_tokens", "Tokens of prompts, as providers count them."),
    "completion_tokens": ("ste_completion_tokens", "Tokens of replies, as providers count them."),
    "usd": ("ste_cost_usd", "Cost of replies by the price table, in US dollars."),
}
_GAUGES = {
    "tools": ("ste_tools", "Tools of the run."),
    "tools_done": ("ste_tools_done", "Tools whose episodes are all stored."),
    "tools_active": ("ste_tools_active", "Tools that are being explored."),
    "episodes": ("ste_episodes", "Episodes of the run."),
    "episodes_stored": ("ste_episodes_stored", "Episodes that are stored."),
}
_ASCII = "".join(map(chr, range(0x20, 0x7F)))  # what can be printed
_FAULTS = ("ste_model_faults", "Faults of model endpoints, by kind.")


def ascii_tag(text: str) -> str:
    """Return ``text`` as the value of a tag, where only ASCII may stand; the rest as in URLs."""
    return quote(text, safe=_ASCII)


class ExploreMetrics:
    """Exports each status it is given; can be sent to another process before its first use."""

    def __init__(self, run: str) -> None:
        self._tags = {"run": ascii_tag(run)}
        self._metrics: dict[str, Any] = {}
        self._before: dict[str, float] = {}

    def __call__(self, status: Status) -> None:
        """Export a status."""
        if not self._metrics:
            self._metrics = self._created()
        for name in _GAUGES:
            self._metrics[name].set(getattr(status, name), self._tags)
        for name, value in status.counts.items():
            more = value - self._before.get(name, 0)
            if more <= 0:
                continue
            self._before[name] = value
            if name.startswith("fault "):
                tags = {**self._tags, "kind": ascii_tag(name.removeprefix("fault "))}
                self._metrics["faults"].inc(more, tags)
            elif name in _COUNTERS:
                self._metrics[name].inc(more, self._tags)

    def _created(self) -> dict[str, Any]:
        # Importing Ray's metrics starts nothing, but this class travels before Ray is connected.
        from ray.util.metrics import Counter, Gauge

        counters = {name: Counter(full, text, ("run",)) for name, (full, text) in _COUNTERS.items()}
        gauges = {name: Gauge(full, text, ("run",)) for name, (full, text) in _GAUGES.items()}
        return {**counters, **gauges, "faults": Counter(*_FAULTS, ("run", "kind"))}
