"""Finds the files that ship with the project: prompts, tool metadata and job scripts.

In an installed wheel they lie inside the package, in a checkout beside it.
"""

from __future__ import annotations

from pathlib import Path

from ste_ray.errors import SteRayError

_PACKAGE = Path(__file__).resolve().parent


def resource_folder(name: str) -> Path:
    """Return the folder ``prompts``, ``tool_metadata`` or ``jobs``.

    Raises:
        SteRayError: the installation is incomplete.
    """
    for parent in (_PACKAGE / "_data", _PACKAGE.parent):
        folder = parent / name
        if folder.is_dir():
            return folder
    raise SteRayError(f"the installation lacks its folder {name!r}; install ste-ray again")
