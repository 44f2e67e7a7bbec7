"""What every part of the report is made of: plain values, counted, cut and ordered.

Nothing is left to decide for those who render them: the HTML page, the terminal tables and later
forms all come from one ``assemble.ReportData``. Each part stands beside what fills it; one whose
stage has not run is ``None``, which is shown as "not run".
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """Base of all parts of the report: frozen, and refusing unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tally(View):
    """How often something with a name happened."""

    name: str
    count: int
