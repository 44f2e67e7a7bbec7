"""A call that failed, as it is shown to a model that is to mend it."""

from __future__ import annotations

from ste_ray.core.records.base import Record


class FailedCall(Record):
    """A call of the right tool that did not work, and what came back."""

    arguments_json: str
    observation: str
