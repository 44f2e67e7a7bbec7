"""The file beside a model with toolkens by which vLLM reads its calls; ``vllm_tool_parser.py``."""

from __future__ import annotations

import shutil
from pathlib import Path

TOOL_PARSER_FILE = "tool_parser.py"
_SOURCE = Path(__file__).with_name("vllm_tool_parser.py")


def write_tool_parser(folder: Path) -> None:
    """Put the tool parser into a model folder; an older one there is replaced."""
    shutil.copyfile(_SOURCE, folder / TOOL_PARSER_FILE)
