"""Fetches modules of vLLM out of its wheels: those that read replies, of 330 megabytes one.

``python tests/vllm_wheel.py FOLDER``, as ``make third-party`` has it. pip names a wheel, and only
parts of it are read.
"""

from __future__ import annotations

import fnmatch
import io
import json
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VERSIONS = ("0.29.0", "0.33.0")  # that of Ray 2.60, and the newest
FOLDER = Path(__file__).resolve().parents[1] / ".third-party" / "vllm"
# Whole where a name is fetched; all others are stand-ins.
_WANTED = (
    "vllm/envs.py",
    "vllm/exceptions.py",
    "vllm/sampling_params.py",
    "vllm/config/utils.py",
    "vllm/entrypoints/generate/base/protocol.py",
    "vllm/entrypoints/openai/chat_completion/message_assembly.py",
    "vllm/entrypoints/openai/chat_completion/protocol.py",
    "vllm/entrypoints/openai/chat_completion/stream_processor.py",
    "vllm/entrypoints/openai/engine/protocol.py",
    "vllm/entrypoints/serve/engine/protocol.py",
    "vllm/entrypoints/serve/utils/tool_calls_utils.py",
    "vllm/parser/abstract_parser.py",
    "vllm/parser/parser_manager.py",
    "vllm/parser/response_template.py",
    "vllm/parser/response_template_grammar.py",
    "vllm/parser/chat_parsing/*.py",
    "vllm/parser/utils.py",
    "vllm/tool_parsers/__init__.py",
    "vllm/tool_parsers/abstract_tool_parser.py",
    "vllm/tool_parsers/hermes_tool_parser.py",
    "vllm/tool_parsers/response_template_tool_parser.py",
    "vllm/tool_parsers/streaming.py",
    "vllm/tool_parsers/tool_strict_level.py",
    "vllm/tool_parsers/utils.py",
    "vllm/utils/collection_utils.py",
    "vllm/utils/import_utils.py",
)


class _Ranges(io.RawIOBase):
    """A file behind an address, read in parts."""

    def __init__(self, url: str) -> None:
        self._url, self._place = url, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
            self._size = int(answer.headers["Content-Length"])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        end = min(self._place + len(buffer), self._size)
        if end <= self._place:
            return 0
        asked = {"Range": f"bytes={self._place}-{end - 1}"}
        with urllib.request.urlopen(urllib.request.Request(self._url, headers=asked)) as answer:
            assert answer.status == 206, "the index gives whole files only"
            read = answer.read()
        buffer[: len(read)] = read
        self._place += len(read)
        return len(read)


def fetch(folder: Path, version: str) -> None:
    """Put the modules of one version into ``folder``."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet"]
    command += ["--ignore-installed", "--disable-pip-version-check", "--report", "-"]
    done = subprocess.run(
        [*command, f"vllm=={version}"], capture_output=True, text=True, check=True, timeout=300
    )
    url = json.loads(done.stdout)["install"][0]["download_info"]["url"]
    with zipfile.ZipFile(io.BufferedReader(_Ranges(url), 1 << 16)) as wheel:
        for name in wheel.namelist():
            if any(fnmatch.fnmatch(name, pattern) for pattern in _WANTED):
                wheel.extract(name, folder / version)


def main(arguments: Sequence[str]) -> None:
    for version in VERSIONS:
        fetch(Path(arguments[0]), version)


if __name__ == "__main__":
    main(sys.argv[1:])
