"""Which models were asked in a stage, and which of them were scripts that stand in for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ste_ray.core.records import Record

TEACHER_MODEL = "scripted-teacher"  # how the script that stands in for a model calls itself

# For people, in the notes of a stage; what is decided, is decided by ``AskedModel.kind``.
SCRIPT_NOTE = "a script (the scripted teacher), not a language model, explored and judged"


class AskedModel(Record):
    """Who answered in a role.

    Attributes:
        model: as the endpoint calls it.
        kind: ``script``: a program, not a language model, whatever it was asked.
    """

    model: str
    kind: Literal["model", "script"]

    @property
    def is_script(self) -> bool:
        """Whether it is no language model."""
        return self.kind == "script"


def asked_models(names: Mapping[str, str]) -> dict[str, AskedModel]:
    """Return role -> who answered, from role -> name of the model."""
    return {
        role: AskedModel(model=name, kind="script" if name == TEACHER_MODEL else "model")
        for role, name in names.items()
    }
