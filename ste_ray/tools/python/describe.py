"""Tool specifications of Python functions, from their signatures and docstrings.

The functions are imported in a process of their own, which is killed when it takes too long:
nothing of theirs runs in this one.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from ste_ray.core.executor_specs import PythonFunction
from ste_ray.core.tool_specs import Effect, ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.process.scratch import ScratchFolder
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.python.worker_process import worker_environment

_LOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Described:
    """What a function says of itself.

    Attributes:
        target: ``module:function``.
        name: of the function.
        description: from the docstring.
        parameters: JSON Schema of the arguments.
        output_schema: JSON Schema of what it returns, if it says so.
        convert: whether arguments must be made into what the type hints ask for.
    """

    target: str
    name: str
    description: str
    parameters: dict[str, Any]
    output_schema: dict[str, Any] | None
    convert: bool


def describe_targets(
    targets: Sequence[str], *, timeout_seconds: float = _LOAD_SECONDS
) -> list[Described]:
    """Describe functions, one for each of ``targets``; of a module, all its public functions.

    Args:
        targets: ``module:function`` or ``module``.
        timeout_seconds: for importing all of them.

    Raises:
        ToolSpecError: naming the target, what it lacks, and the remedy.
    """
    found: list[Described] = []
    for answer in _asked(targets, timeout_seconds):
        described, skipped = _read(answer)
        for _, reason in skipped:
            raise ToolSpecError(reason)
        found += described
    return found


def _read(answer: dict[str, Any]) -> tuple[list[Described], list[tuple[str, str]]]:
    """Return what was found for one target, and name and reason of what cannot be used of it."""
    if "error" in answer:
        raise ToolSpecError(" ".join(str(answer["error"]).split()))
    skipped = [(name, " ".join(str(reason).split())) for name, reason in answer["skipped"]]
    found = []
    for fields in answer["functions"]:
        one = Described(**fields)
        try:
            found.append(replace(one, parameters=check_parameters(one.parameters)))
        except (ValueError, RecursionError) as error:
            skipped.append((one.name, f"{one.target!r}: {error}"))
    return found, skipped


def import_python(
    source: str, effect: Effect = "unknown", skipped: list[tuple[str, str]] | None = None
) -> list[ToolSpec]:
    """Return specifications of one function, or of all public functions of a module.

    Args:
        source: ``module:function`` or ``module``.
        effect: of all of them.
        skipped: gets name and reason of each function that cannot be used, which is otherwise an
            error; it is one, too, where nothing is left.

    Raises:
        ToolSpecError: see ``describe_targets``.
    """
    specs = []
    (answer,) = _asked([source], _LOAD_SECONDS)
    described, refused = _read(answer)
    if refused and (skipped is None or not described):
        raise ToolSpecError(refused[0][1])
    if skipped is not None:
        skipped += refused
    for one in described:
        executor = PythonFunction(target=one.target)
        if one.convert:
            executor = PythonFunction(target=one.target, convert=True)
        try:
            spec = ToolSpec(
                name=one.name,
                description=one.description,
                parameters=one.parameters,
                output_schema=one.output_schema,
                executor=executor,
                effect=effect,
            )
        except ValidationError as error:
            raise ToolSpecError(f"{one.target!r}: {error.errors()[0]['msg']}") from None
        specs.append(spec)
    return specs


def _asked(targets: Sequence[str], timeout_seconds: float) -> list[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "ste_ray.tools.python.signature", str(os.getpid())]
    today = datetime.date.today().isoformat()
    with (
        ScratchFolder(prefix="ste-tools-") as folder,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=worker_environment(today, folder),
            cwd=folder,
            start_new_session=True,
        ) as process,
    ):
        try:
            output, _ = process.communicate(json.dumps(list(targets)).encode(), timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ToolSpecError(
                f"importing {', '.join(map(repr, targets))} took longer than {timeout_seconds:g} "
                "seconds; import in a module must not wait for anything"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    try:
        answers: list[dict[str, Any]] = json.loads(output)
    except ValueError:
        raise ToolSpecError(
            f"importing {', '.join(map(repr, targets))} ended the process (exit code "
            f"{process.returncode}); import the module by hand to see why"
        ) from None
    return answers
