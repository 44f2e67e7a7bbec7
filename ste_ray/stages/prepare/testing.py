"""What tests of other kinds are made with, as the driver opens it for the workers.

The right calls are really executed, within the limits of their tools; ``slots`` holds these for all
workers together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.confusions import confused_tools
from ste_ray.stages.shared.slots import SlotCalls, shared_slots
from ste_ray.stages.shared.tools import permissions, why_not_executed
from ste_ray.tools.config import ToolsConfig


@dataclass(frozen=True)
class Testing:
    """What the driver opens for the workers.

    Attributes:
        tools: how tools are called.
        not_executed: why calls of some tools are not executed.
        confused: tool -> tools that an evaluated run called in its place, most often first.
        slots: who says when a call may go; None: no tool has limits.
    """

    __test__ = False  # no test, whatever pytest takes its name for
    tools: ToolsConfig
    not_executed: Mapping[str, str]
    confused: Mapping[str, Sequence[str]]
    slots: SlotCalls | None = None


@contextmanager
def open_testing(context: StageContext) -> Iterator[Testing | None]:
    """Open what tests are made with; None: none is wanted that models write."""
    section = context.config.prepare.tests
    if not section.written:
        yield None
        return
    config = context.config.tools
    allow, hosts = permissions(config)  # workers know the configuration only, not the files
    reasons = {name: why_not_executed(spec, allow) for name, spec in context.specs.items()}
    callable_specs = [context.specs[name] for name, reason in reasons.items() if not reason]
    with shared_slots(callable_specs) as slots:
        yield Testing(
            tools=config.model_copy(update={"allow_hosts": hosts}),
            not_executed={name: reason for name, reason in reasons.items() if reason},
            confused=confused_tools(section.confused_in) if section.confused_in else {},
            slots=slots,
        )
