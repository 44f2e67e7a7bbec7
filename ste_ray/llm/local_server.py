"""Serves a model folder with ``transformers serve``, for users who have a model and no endpoint.

The server is a process of its own: it loads the folder only, has no network, and ends with the
context or with the process that opened it, however that ends. It answers one request at a time and
samples only if the folder's ``generation_config.json`` says ``do_sample``.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ste_ray.errors import ConfigError, EndpointError
from ste_ray.process.scratch import ScratchFolder

START_SECONDS = 600.0  # a large model takes minutes to load
_POLL_SECONDS = 0.1
_SHOWN_LINES = 5
_SHOWN_CHARS = 1500
_PACKAGES = ("fastapi", "uvicorn")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
_WEIGHTS = ("*.safetensors", "*.bin")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")


@contextlib.contextmanager
def running_local_model(
    folder: str, host: str = "127.0.0.1", *, start_seconds: float = START_SECONDS
) -> Iterator[str]:
    """Serve the model in ``folder``; gives the base URL, which ends in ``/v1``.

    Requests must name the model exactly as ``folder`` is given here; the server lists no models.

    Args:
        folder: A Hugging Face model folder: configuration, weights, tokenizer and chat template.
        host: An address of this machine to listen at, on a free port.
        start_seconds: How long loading may take.

    Raises:
        ConfigError: the folder holds no model that can be served, or packages are missing.
        EndpointError: the server ended, or did not answer in time.
    """
    _check_packages()
    check_model_folder(folder)
    with ScratchFolder(prefix="ste-serve-") as scratch:
        log = Path(scratch, "log")
        port = _free_port(host)
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(folder, host, port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(scratch),
                start_new_session=True,  # one group to kill, out of reach of the terminal's Ctrl-C
            )
        try:
            _wait_until_ready(process, folder, host, port, start_seconds, log)
            yield f"http://{_bracketed(host)}:{port}/v1"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def check_model_folder(folder: str) -> None:
    """Refuse a folder that a server would fail on, at its start or at each request.

    Raises:
        ConfigError: naming what is missing.
    """
    path = Path(folder)
    if not folder or not path.is_dir():
        raise ConfigError(
            f"llm.local_model={folder!r} is no folder; give a downloaded model's folder, or set "
            "llm.base_url to an endpoint that serves the model"
        )
    if "@" in folder or ":" in folder:
        raise ConfigError(
            f"llm.local_model={folder!r} holds '@' or ':', which the server takes for a revision "
            "or a file; rename the folder or give a link to it"
        )
    if not (path / "config.json").is_file():
        raise _lacking(folder, "config.json", "the model's configuration")
    if not any(any(path.glob(pattern)) for pattern in _WEIGHTS):
        raise _lacking(folder, "*.safetensors", "the model's weights")
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise _lacking(folder, "tokenizer.json", "the model's tokenizer")
    if not _has_chat_template(path):
        raise _lacking(
            folder, "chat_template.jinja", "a chat template; give a model that was tuned for chat"
        )


def _lacking(folder: str, name: str, meaning: str) -> ConfigError:
    return ConfigError(
        f"llm.local_model={folder!r} has no {name!r} ({meaning}); give a complete model folder, as "
        "save_pretrained writes it for model and tokenizer"
    )


def _has_chat_template(path: Path) -> bool:
    if any((path / name).is_file() for name in _TEMPLATES):
        return True
    try:
        config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and bool(config.get("chat_template"))


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"llm.local_model needs {' and '.join(missing)}; run pip install 'ste-ray[serve]'"
        )


def _command(folder: str, host: str, port: int) -> list[str]:
    module = [sys.executable, "-m", "ste_ray.llm.local_server_process", str(os.getpid())]
    return [*module, "serve", "--host", host, "--port", str(port), "--", folder]


def _environment(scratch: str) -> dict[str, str]:
    # The server lists whatever lies in the cache: an empty one, or others' models would show up.
    cache = Path(scratch, "cache")
    cache.mkdir()
    return {
        **os.environ,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise EndpointError(
                f"cannot listen at {host!r} ({error}); give an address of this machine"
            ) from None
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(
    process: subprocess.Popen[bytes],
    folder: str,
    host: str,
    port: int,
    start_seconds: float,
    log: Path,
) -> None:
    """Return once the server answers; it does so only after it has loaded the model."""
    deadline = time.monotonic() + start_seconds
    while not _answers(host, port):
        status = process.poll()
        if status is not None:
            raise EndpointError(
                f"llm.local_model={folder!r} cannot be served: the server ended with status "
                f"{status}; correct the folder; it said: {_last_lines(log)}"
            )
        if time.monotonic() > deadline:
            raise EndpointError(
                f"llm.local_model={folder!r}: the server did not answer within {start_seconds:g} "
                f"s; give a smaller model or a faster machine; it said: {_last_lines(log)}"
            )
        time.sleep(_POLL_SECONDS)


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)  # asks no proxy
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_lines(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    shown = " | ".join([line for line in lines if line][-_SHOWN_LINES:])
    return shown[-_SHOWN_CHARS:] or "nothing"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
