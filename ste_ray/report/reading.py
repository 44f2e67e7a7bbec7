"""What the report needs from a run: records, JSON files and manifests, whichever exist.

The report does not know how runs are stored; ``ste_ray.stages.report.writing`` joins it to the
store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

R = TypeVar("R", bound=BaseModel)


class RunReader(Protocol):
    """Reads one run. What does not exist is empty or ``None``, never an error."""

    @property
    def uri(self) -> str:
        """Where the run is."""
        ...

    def records(self, folder: str, model: type[R]) -> Sequence[R]:
        """Return all records below ``folder``, in order of their parts."""
        ...

    def json(self, path: str) -> Any:
        """Return the content of a JSON file, or ``None``."""
        ...

    def manifest(self, stage: str) -> Mapping[str, Any] | None:
        """Return the fields of a finished stage's manifest, or ``None``."""
        ...
