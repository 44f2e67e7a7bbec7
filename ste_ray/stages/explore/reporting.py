"""What an explorer has to tell the coordinator, gathered until its next report."""

from __future__ import annotations

from collections.abc import Iterable

from ste_ray.core.coverage.findings import Findings
from ste_ray.core.exploring.alike import cause_of
from ste_ray.core.records import Episode
from ste_ray.runtime.events import EventBuffer
from ste_ray.stages.explore.messages import Ended, Report
from ste_ray.stages.explore.parts import EpisodeKey


class ReportDraft:
    """The next report of an explorer.

    Args:
        name: of the explorer.
        events: counts what happens.
    """

    def __init__(self, name: str, events: EventBuffer) -> None:
        self._name = name
        self._events = events
        self._stored: list[EpisodeKey] = []
        self._stopped: dict[str, str] = {}
        self._said: list[str] = []
        self._ended: list[Ended] = []
        self._findings: list[Findings] = []

    def stored(self, keys: Iterable[EpisodeKey]) -> None:
        """Note that episodes are durable."""
        self._stored += keys

    def stopped(self, tool: str, reason: str) -> None:
        """Note that a tool's budget ended."""
        self._stopped[tool] = reason

    def ended(self, episode: Episode, findings: Findings | None = None) -> None:
        """Note that an episode came to its end, and what it brought if that is wanted."""
        if findings is not None:
            self._findings.append(findings)
        key = (episode.tool, episode.episode_number)
        self._ended.append((key, tuple(map(cause_of, episode.trials))))

    def endpoint_event(self, name: str, fields: dict[str, object]) -> None:
        """Note that requests to an endpoint pause, or go on."""
        self._events.emit(name, {})
        if fields.get("recovered"):
            line = f"goes on after {fields['paused_seconds']} s"
        else:
            line = (
                f"failed {fields['failures']} times in a row ({fields['reason']}); its requests "
                f"pause for {fields['pause_seconds']} s"
            )
        self.say(f"the endpoint {fields['endpoint']!r} {line}")

    def say(self, line: str) -> None:
        """Note a line for the person who waits."""
        self._said.append(f"{self._name}: {line}")

    def take(self, room: int) -> Report:
        """Return the report, of which each piece is told once, and begin the next one."""
        shown, left_out = self._events.take_shown()
        report = Report(
            room=room,
            stored=tuple(self._stored),
            stopped=dict(self._stopped),
            counts=self._events.counts,
            shown=shown,
            shown_left_out=left_out,
            said=tuple(self._said),
            ended=tuple(self._ended),
            findings=tuple(self._findings),
        )
        self._stored, self._said, self._ended, self._findings = [], [], [], []
        return report
