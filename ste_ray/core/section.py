"""The base of the sections of a configuration, and how their keys are declared.

Operational keys change how a stage runs, never what it produces, so they are no part of its
fingerprint. Each section lives beside the code that it configures; ``ste_ray.config`` joins them,
and ``docs/configuration.md`` is made of their descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


def key(
    default: Any,
    description: str,
    *,
    unless_empty: bool = False,
    unless_default: bool = False,
    **bounds: Any,
) -> Any:
    """Declare a key that decides what a stage produces.

    Args:
        default: what holds if it is left out.
        description: one sentence for users: what it does, in which unit, and what the default
            means where it does not say so itself.
        unless_empty: whether 0 or an empty value produces what was produced before there was the
            key, so that it does not count in fingerprints.
        unless_default: whether the default does likewise.
        bounds: ``ge``, ``gt``, ``le``, ``lt``.
    """
    if unless_empty:
        bounds["json_schema_extra"] = {"unless_empty": True}
    if unless_default:
        bounds["json_schema_extra"] = {"unless": default}
    return Field(default=default, description=description, **bounds)


def operational(default: Any, description: str, **bounds: Any) -> Any:
    """Declare a key that changes how a stage runs, never what it produces; see ``key``."""
    return Field(
        default=default,
        description=description,
        json_schema_extra={"operational": True},
        **bounds,
    )


class Section(BaseModel):
    """Base of all sections: frozen, refusing unknown keys.

    Attributes:
        retired: keys of former versions, with what has become of each, to go on from "'KEY' ".
        settled: keys of former versions that decide what is produced and have one value now; they
            still count in fingerprints, so that older runs can go on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    retired: ClassVar[Mapping[str, str]] = {}
    settled: ClassVar[Mapping[str, Any]] = {}

    def result_fields(self) -> dict[str, Any]:
        """The fields that decide what is produced, as JSON values; nested sections included."""
        fields: dict[str, Any] = dict(self.settled)
        for name, info in type(self).model_fields.items():
            extra = info.json_schema_extra
            marks = extra if isinstance(extra, Mapping) else {}
            value = getattr(self, name)
            if marks.get("operational") or _is_settled(marks, value):
                continue
            fields[name] = value.result_fields() if isinstance(value, Section) else value
        return fields


def _is_settled(marks: Mapping[str, Any], value: Any) -> bool:
    """Whether a key's value produces what was produced before there was the key."""
    empty = marks.get("unless_empty") and not value
    return bool(empty or ("unless" in marks and value == marks["unless"]))
