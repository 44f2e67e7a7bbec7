"""Where torch's distributed checkpoints are written and read: local folders and object storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.fs as pafs
from torch.distributed.checkpoint.filesystem import (
    FileSystemBase,
    FileSystemReader,
    FileSystemWriter,
)

from ste_ray.ports import RunFiles


def _is_local(files: RunFiles) -> bool:
    return isinstance(files.filesystem, pafs.LocalFileSystem)


def checkpoint_writer(files: RunFiles, path: str) -> FileSystemWriter:
    """Return what writes a checkpoint into the folder ``path`` of a run."""
    if _is_local(files):
        return FileSystemWriter(files.path(path), overwrite=True)
    # Object storage is durable once written, and has no file to flush.
    writer = FileSystemWriter(files.path(path), sync_files=False, overwrite=True)
    writer.fs = _ArrowFiles(files.filesystem)  # type: ignore[assignment]
    writer.path = files.path(path)
    return writer


def checkpoint_reader(files: RunFiles, path: str) -> FileSystemReader:
    """Return what reads a checkpoint from the folder ``path`` of a run."""
    reader = FileSystemReader(files.path(path))
    if not _is_local(files):
        reader.fs = _ArrowFiles(files.filesystem)  # type: ignore[assignment]
        reader.path = files.path(path)
    return reader


class _ArrowFiles(FileSystemBase):
    """What torch needs of a file system, through pyarrow."""

    def __init__(self, filesystem: pafs.FileSystem) -> None:
        self._filesystem = filesystem

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        """Open a file to read or write it."""
        name = os.fspath(path)
        if mode == "wb":
            with self._filesystem.open_output_stream(name) as stream:
                yield stream
        elif mode == "rb":
            with self._filesystem.open_input_file(name) as stream:
                yield stream
        else:
            raise ValueError(f"mode {mode!r} is neither 'rb' nor 'wb'")

    def concat_path(self, path: str | os.PathLike[str], suffix: str) -> str:
        """Return the path of a file in a folder."""
        return f"{os.fspath(path)}/{suffix}"

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        """Move a file."""
        self._filesystem.move(os.fspath(path), os.fspath(new_path))

    def init_path(self, path: str | os.PathLike[str]) -> str:
        """Return the path as it is."""
        return os.fspath(path)

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """Do nothing: object storage has no folders."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Accept any."""
        return True

    def exists(self, path: str | os.PathLike[str]) -> bool:
        """Whether there is such a file."""
        info = self._filesystem.get_file_info(os.fspath(path))
        return bool(info.type != pafs.FileType.NotFound)

    def rm_file(self, path: str | os.PathLike[str]) -> None:
        """Delete a file."""
        self._filesystem.delete_file(os.fspath(path))

    def ls(self, path: str | os.PathLike[str]) -> list[str]:
        """Return the files of a folder."""
        found = self._filesystem.get_file_info(pafs.FileSelector(os.fspath(path)))
        return [info.path for info in found]
