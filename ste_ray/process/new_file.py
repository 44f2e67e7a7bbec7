"""Files that appear whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ste_ray.errors import ConfigError


@contextmanager
def new_file(path: str) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; the file there takes that name when all went well.

    Raises:
        ConfigError: it cannot be written.
    """
    file = Path(path)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(file)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path!r}: {error.strerror or error}; give a file in an existing folder"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_file(path: str, content: bytes) -> None:
    """Write all of a file or nothing; what is no plain file (``/dev/stdout``) is written as it is.

    Raises:
        ConfigError: it cannot be written.
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        try:
            file.write_bytes(content)
        except OSError as error:
            raise ConfigError(
                f"cannot write {path!r}: {error.strerror or error}; give a file in an existing"
                " folder"
            ) from None
        return
    # What a link points to is replaced, not the link.
    with new_file(str(file.resolve()) if file.is_symlink() else path) as temporary:
        temporary.write_bytes(content)
