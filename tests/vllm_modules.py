"""vLLM's own modules, as far as ``vllm_wheel.py`` fetched them, without what they import.

What they need beyond them, much of it for GPUs, is not installed here; stand-ins take its place.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic_core import core_schema

from tests.vllm_wheel import FOLDER


class _StandInType(type):
    """A class that has any attribute, can be called, and fits into annotations."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stand_in(name)

    def __iter__(cls) -> Iterator[Any]:
        return iter(())


def _stand_in(name: str) -> Any:
    def schema(*_: Any) -> Any:
        return core_schema.any_schema()

    def get(_: Any, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return _stand_in(attribute)

    def make(cls: Any, *arguments: Any, **_: Any) -> Any:
        # As a decorator it leaves what it is given.
        if len(arguments) == 1 and callable(arguments[0]):
            return arguments[0]
        return object.__new__(cls)

    members = {
        "__get_pydantic_core_schema__": classmethod(schema),
        "__getattr__": get,
        "__new__": make,
        "__init__": lambda *_, **__: None,
        "__call__": lambda *_, **__: None,
        "__class_getitem__": classmethod(lambda cls, _: cls),
        "__init_subclass__": classmethod(lambda cls, **_: None),
    }
    return _StandInType(name, (), members)


_KNOWN = {
    "make_tool_call_id": lambda *_, **__: uuid.uuid4().hex,
    "is_mistral_tokenizer": lambda *_: False,
}


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _KNOWN.get(name) or _stand_in(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules that were fetched, and makes stand-ins of what they lack."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] == "vllm":
            file = self._folder.joinpath(*name.split("."))
            for found in (file.with_suffix(".py"), file / "__init__.py"):
                if found.is_file():
                    within = [str(file)] if found.name == "__init__.py" else None
                    return importlib.util.spec_from_file_location(
                        name, found, submodule_search_locations=within
                    )
        elif name.partition(".")[0] not in _NOT_HERE or self._is_installed(name):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def _is_installed(self, name: str) -> bool:
        return importlib.machinery.PathFinder.find_spec(name.partition(".")[0]) is not None

    def create_module(self, spec: Any) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


# What vLLM and Ray Serve LLM import besides, if it is not installed.
_NOT_HERE = ("xgrammar", "partial_json_parser", "msgspec", "grpc_reflection", "httpx")


@contextmanager
def vllm_modules(version: str, folder: Path = FOLDER) -> Iterator[None]:
    """Within, ``import vllm.…`` gives the modules of that version."""
    finder = _Finder(folder / version)
    before = dict(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in ("vllm", *_NOT_HERE, "tool_parser"):
                del sys.modules[name]
        sys.modules.update(before)
