"""What all records have: they are frozen, and refuse unknown fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1


class Record(BaseModel):
    """Base of all records: frozen, and refusing unknown fields.

    Attributes:
        old_names: under which earlier versions stored fields, and how they are called now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    old_names: ClassVar[Mapping[str, str]] = {}
