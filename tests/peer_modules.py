"""Modules of programs that read exports, as ``make third-party`` fetches them: see the Makefile.

They are installed without what they need; what is not there gets an empty stand-in.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[1] / ".third-party" / "peers"
_PEERS = ("llamafactory", "axolotl", "addict", "bfcl_eval")


def needs_peer(name: str) -> pytest.MarkDecorator:
    """Skip a test where the program is not there."""
    return pytest.mark.skipif(
        not (FOLDER / name).is_dir(), reason=f"{name} is not there ('make third-party' fetches it)"
    )


@contextmanager
def peer_modules(stand_ins: Mapping[str, Mapping[str, object]]) -> Iterator[None]:
    """Within, the modules of the programs can be imported.

    Args:
        stand_ins: names that stand in for modules, with their members.
    """
    before = dict(sys.modules)
    sys.path.append(str(FOLDER))  # at the end: what is installed comes first
    for name, members in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module
    try:
        yield
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - set(before):
            if name in stand_ins or name.partition(".")[0] in _PEERS:
                del sys.modules[name]
        sys.modules.update(before)
