"""The section ``tools``."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import field_validator

from ste_ray.core.section import Section, key, operational


class ToolsConfig(Section):
    """Which tools are explored, and how their processes are run."""

    files: tuple[str, ...] = key(
        ("builtin",), "Tool files, folders of them, or names of shipped sets (builtin, general)."
    )
    include: tuple[str, ...] = key((), "Names of the tools to use; empty: all that are read.")
    allow: tuple[str, ...] = key(
        (),
        "Tools that may be called although they may change something; empty: those alone that a "
        "tool file allows.",
    )
    simulate: Literal["never", "when_missing", "always"] = key(
        "never",
        "Tools that a model plays: none, those that lack a secret or cannot be called, or all.",
    )
    allow_hosts: tuple[str, ...] = operational(
        (), "Private hosts, host:port pairs or networks that tools may reach; empty: none."
    )
    toolbench_url: str = operational(
        "", "Address of a ToolBench or StableToolBench server; empty: none."
    )
    toolbench_form: Literal["hosted", "stable"] = key(
        "hosted", "Which of the two servers it is: ToolBench's hosted one, or StableToolBench."
    )
    recordings: str = operational("", "Folder or URI of recorded answers; empty: none are kept.")
    recording: Literal["off", "record", "reuse", "replay"] = operational(
        "off", "Record real answers, reuse those that are there, or take recorded ones alone."
    )
    max_servers: int = operational(16, "MCP server processes at once, in each explorer.", ge=1)
    num_workers: int = operational(2, "Processes for Python tools, in each explorer.", ge=1)
    memory_mb: int = operational(
        1024, "Address space of a process for Python tools, in MiB; beyond it a call fails.", ge=64
    )
    today: str = key(
        "2026-03-02", "The date that tools take for today, so that runs can be repeated."
    )

    @field_validator("today", mode="before")
    @classmethod
    def _iso_date(cls, value: object) -> str:
        try:  # a date without quotes is no string in YAML
            return datetime.date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise ValueError("must be a date such as 2026-03-02") from None
