"""Folders of immutable segments with many writers, some of whom are only thought dead.

Object storage has no append: each writer adds objects named ``EPOCH-WRITER-NUMBER.EXTENSION``. Who
owns the run (``store.lock``) decides what counts, and what comes too late is never read:

* ``seal`` opens an epoch and lists what earlier epochs left; their later writes do not count.
* ``fence`` lists what a lost writer of this epoch left; its later writes do not count.
* ``merge`` puts many small segments into few, so that their number stays bounded. Only the owner
  deletes, so a listed segment that is gone has been merged into one that counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ste_ray.errors import StageInputError, StoreError
from ste_ray.ports import ArtifactStore

MERGER = "merged"  # the name under which the owner writes merged segments
_NAME = re.compile(r"(\d{6})-(.+)-(\d{6})\.[a-z.]+")
_MERGED_BYTES = 8 * 2**20


class Segment(NamedTuple):
    """A segment by its name."""

    path: str
    epoch: int
    writer: str
    number: int


def segment_path(folder: str, epoch: int, writer: str, number: int, extension: str) -> str:
    """Return the path of a segment; ``extension`` begins with a dot."""
    return f"{folder}/{epoch:06d}-{writer}-{number:06d}{extension}"


def seal(store: ArtifactStore, folder: str, epoch: int) -> None:
    """Open ``epoch``: segments of earlier epochs that appear from now on do not count."""
    names = [segment.path for segment in accepted(store, folder)]
    _write_list(store, f"{folder}/sealed-{epoch:06d}.json", names)


def is_seal(path: str) -> bool:
    """Whether the object at ``path`` only opens an epoch, and holds no segment's content."""
    return path.rpartition("/")[2].startswith("sealed-")


def fence(store: ArtifactStore, folder: str, epoch: int, writer: str) -> list[str]:
    """Shut a writer of this epoch out and return what counts of its segments.

    The first fence holds: a second one returns the same list.
    """
    path = f"{folder}/fenced-{epoch:06d}-{writer}.json"
    names = [one.path for one in _segments(store.list(folder)) if one[1:3] == (epoch, writer)]
    if not store.create_bytes(path, _encoded(names)):
        names = _read_list(store, path)
    return names


def accepted(store: ArtifactStore, folder: str) -> list[Segment]:
    """Return the segments that count, in order of epoch, writer and number."""
    paths = store.list(folder)
    seals = sorted(filter(is_seal, paths))
    epoch = int(seals[-1][-11:-5]) if seals else 0
    earlier = set(_read_list(store, seals[-1])) if seals else set()
    fences = {
        path: set(_read_list(store, path)) for path in paths if f"/fenced-{epoch:06d}-" in path
    }
    found = []
    for segment in _segments(paths):
        names = fences.get(f"{folder}/fenced-{epoch:06d}-{segment.writer}.json")
        if not seals:
            counts = True
        elif segment.epoch != epoch:
            counts = segment.path in earlier
        else:
            counts = names is None or segment.path in names
        if counts:
            found.append(segment)
    return found


def has_merged(store: ArtifactStore, folder: str, epoch: int) -> bool:
    """Whether segments were merged in this epoch."""
    return any((one.epoch, one.writer) == (epoch, MERGER) for one in accepted(store, folder))


def read_accepted(
    store: ArtifactStore, folder: str, num_tries: int = 5, seen: set[str] | None = None
) -> Iterator[tuple[Segment, bytes]]:
    """Yield the segments that count with their content; merging may go on meanwhile.

    A segment that was merged away between listing and reading is found again in its new place, so
    that content may come twice, never not at all.

    Args:
        store: the run's artifacts.
        folder: where the segments lie.
        num_tries: how often segments may vanish.
        seen: paths of segments that are left out; those that are yielded are added.

    Raises:
        StoreError: segments vanish again and again.
    """
    seen = set() if seen is None else seen
    for _ in range(num_tries):
        left = [one for one in accepted(store, folder) if one.path not in seen]
        gone = False
        for segment in left:
            try:
                data = store.read_bytes(segment.path)
            except FileNotFoundError:
                gone = True
                continue
            seen.add(segment.path)
            yield segment, data
        if not gone:
            return
    raise StoreError(
        f"segments in {folder!r} vanish again and again while they are read; see that only one "
        "process works on the run, and run the same command again"
    )


def merge(
    store: ArtifactStore,
    folder: str,
    epoch: int,
    join: Callable[[Sequence[bytes]], bytes],
    delete: Callable[[str], None],
    *,
    max_segments: int = 1,
    still_owner: Callable[[], None] = lambda: None,
) -> None:
    """Merge the segments that count into segments of about 8 MiB, if there are too many.

    What this epoch has merged already is left alone while others are still added, or it would be
    written again and again.

    Args:
        store: the run's artifacts.
        folder: where the segments lie.
        epoch: of the owner who merges.
        join: makes one segment of the content of several.
        delete: removes an object.
        max_segments: nothing is done while there are no more.
        still_owner: raises when the run belongs to somebody else by now.
    """
    found = accepted(store, folder)
    merged = {one.path for one in found if (one.epoch, one.writer) == (epoch, MERGER)}
    number = max((one.number for one in found if one.path in merged), default=-1) + 1
    segments = [one for one in found if one.path not in merged or max_segments <= 1]
    if len(segments) <= max_segments:
        return
    batch: list[tuple[Segment, bytes]] = []

    def write() -> None:
        nonlocal number
        if len(batch) > 1:
            path = segment_path(folder, epoch, MERGER, number, _extension(batch[0][0].path))
            store.write_bytes(path, join([data for _, data in batch]))
            number += 1
            still_owner()
            for segment, _ in batch:
                delete(segment.path)
        batch.clear()

    for segment in segments:
        data = store.read_bytes(segment.path)
        if batch and sum(len(held) for _, held in batch) + len(data) > _MERGED_BYTES:
            write()
        batch.append((segment, data))
    write()


def _segments(paths: Sequence[str]) -> list[Segment]:
    found = []
    for path in paths:
        match = _NAME.fullmatch(path.rpartition("/")[2])
        if match:
            found.append(Segment(path, int(match[1]), match[2], int(match[3])))
    return sorted(found, key=lambda one: one[1:])


def _extension(path: str) -> str:
    name = path.rpartition("/")[2]
    return name[name.index(".") :]


def _encoded(names: Sequence[str]) -> bytes:
    return json.dumps({"accepted": list(names)}).encode()


def _write_list(store: ArtifactStore, path: str, names: Sequence[str]) -> None:
    store.write_bytes(path, _encoded(names))


def _read_list(store: ArtifactStore, path: str) -> list[str]:
    data = store.read_bytes(path)
    try:
        names: list[str] = json.loads(data)["accepted"]
    except (ValueError, LookupError, TypeError) as error:
        raise StageInputError(
            f"the list of segments {path!r} of the run is damaged ({error}); delete it and run the "
            "same command again: some of what was recorded is asked again"
        ) from None
    return names
