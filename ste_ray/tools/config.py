"""The section ``tools``."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import field_validator

from ste_ray.core.section import Section, operational


class ToolsConfig(Section):
    """Which tools are explored, and how their processes are run."""

    files: tuple[str, ...] = ("builtin",)  # files, folders, or names of shipped sets
    include: tuple[str, ...] = ()  # empty: all
    allow: tuple[str, ...] = ()  # tools that may be called although they are not read-only
    # simulated tools: never; those whose secrets are missing or that cannot be called; always
    simulate: Literal["never", "when_missing", "always"] = "never"
    allow_hosts: tuple[str, ...] = operational(())  # private hosts, host:port or networks to reach
    toolbench_url: str = operational("")  # of a ToolBench or StableToolBench server
    toolbench_form: Literal["hosted", "stable"] = "hosted"
    recordings: str = operational("")  # URI of recorded answers
    recording: Literal["off", "record", "reuse", "replay"] = operational("off")
    max_servers: int = operational(16, ge=1)  # MCP server processes per explorer
    num_workers: int = operational(2, ge=1)  # killable processes per explorer
    memory_mb: int = operational(1024, ge=64)  # address space of one worker process
    today: str = "2026-03-02"  # what tools take for today, so that runs can be repeated

    @field_validator("today", mode="before")
    @classmethod
    def _iso_date(cls, value: object) -> str:
        try:  # a date without quotes is no string in YAML
            return datetime.date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise ValueError("must be a date such as 2026-03-02") from None
