"""A file that appears whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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
            f"cannot write {path!r}: {error}; give --out a file in an existing folder"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
