"""Files of models on the Hugging Face hub, and what it means that the hub does not give them.

A name that the hub does not know is a mistake. A hub that does not answer may do so later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import tqdm

from ste_ray.errors import ConfigError, SteRayError, TemporaryError

# What the hub's client raises, httpx2 within it, and the file system that holds its cache.
HUB_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError)
# What the client itself did wrong, such as a header that cannot be sent: no time mends it.
_OWN_MISTAKES = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_WITHIN_FOLDERS = "*/*"
_MAX_REASON = 300
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


class _NoBar(tqdm):  # type: ignore[misc]
    """In the place of a progress bar, for what is fetched in no time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})


def fetch_from_hub(
    name: str, patterns: Sequence[str], given: str, *, shows_progress: bool = True
) -> Path:
    """Return a folder with a model's files: from the cache, if they have not changed since.

    Args:
        name: of the model: its owner's, a slash, its own.
        patterns: of the files that are needed; those in folders of their own never are.
        given: the key and the value of it that named the model, for errors.
        shows_progress: whether a bar is drawn while it comes.

    Raises:
        ConfigError: the hub has no such model, or not for this user; or it may not be asked.
        TemporaryError: it cannot be reached, or fails.
    """
    try:
        bar = None if shows_progress else _NoBar
        return Path(
            snapshot_download(
                name,
                allow_patterns=list(patterns),
                ignore_patterns=[_WITHIN_FOLDERS],
                tqdm_class=bar,
            )
        )
    except HUB_ERRORS as error:
        raise hub_error(error, given) from None


def known_files(name: str) -> list[str]:
    """Return the paths of all files of a model that something was fetched of; empty: unknown."""
    try:
        return [file.path for file in get_cached_repo_tree(name)]
    except (CachedRepoTreeNotFoundError, *HUB_ERRORS):
        return []


def hub_error(error: BaseException, given: str) -> SteRayError:
    """Return what a failure to fetch a model means to who named it."""
    causes = list(_causes(error))
    if any(isinstance(one, OfflineModeIsEnabled) for one in causes):
        return ConfigError(
            f"{given} is no folder here and not wholly in the cache of the Hugging Face hub, which"
            " may not be asked for it (HF_HUB_OFFLINE is set); give a folder, or unset"
            " HF_HUB_OFFLINE"
        )
    if not _is_address(constants.ENDPOINT):
        return ConfigError(
            f"{given} is no folder here, and HF_ENDPOINT={constants.ENDPOINT!r} is no address of a"
            " Hugging Face hub; set it to one with its scheme, such as 'https://huggingface.co',"
            " unset it, or give a folder"
        )
    if reason := next(filter(None, map(_why_it_may_pass, causes)), ""):
        return TemporaryError(
            f"{given} is no folder here, and the Hugging Face hub at {constants.ENDPOINT!r} cannot"
            f" be reached ({reason}); run it again later, or give the folder of a downloaded model"
        )
    if isinstance(error, GatedRepoError):
        remedy = "accept its terms on the hub's page and set HF_TOKEN, or give a folder"
        return ConfigError(
            f"{given} is no folder here, and the Hugging Face hub gives it only to those who"
            f" accepted its terms; {remedy}"
        )
    if isinstance(error, RepositoryNotFoundError):
        return ConfigError(
            f"{given} is no folder here, and the Hugging Face hub knows no such model, or it is"
            " private; correct the name, set HF_TOKEN to one that may read it, or give a folder"
        )
    return ConfigError(
        f"{given} is no folder here, and the Hugging Face hub does not give it:"
        f" {_one_line(error)}; give a folder, a hub name (HF_TOKEN opens private ones) or a run URI"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, the first cause last."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _why_it_may_pass(error: BaseException) -> str:
    """Say what a network or server fails at for now; empty: the error is another one."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        passes = status >= _SERVER_ERRORS or status == _TOO_MANY_REQUESTS
        return f"it answers with status {status}" if passes else ""
    passes = isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError)
    return _one_line(error) if passes and not isinstance(error, _OWN_MISTAKES) else ""


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port that is none
        return False


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:_MAX_REASON] or type(error).__name__
