"""Reading tool files where only what they say of tools matters."""

from collections.abc import Sequence
from pathlib import Path

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.tools.spec.files import read_tool_files


def load_tool_specs(
    files: Sequence[str], include: Sequence[str] = (), *, shipped: Path
) -> dict[str, ToolSpec]:
    """Return the specifications by name; see ``read_tool_files``."""
    return read_tool_files(files, include, shipped=shipped).specs
