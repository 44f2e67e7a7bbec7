"""Tokenised rows in shards: Parquet files whose rows are a seeded random sample of all rows.

A row's place is decided by a hash of seed and row id, so it depends neither on the file the row
came from nor on who wrote it. An epoch goes through the shards in a random order and through each
one's rows in a random order (``plan``), which needs one shard in memory at a time.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ste_ray.core import layout
from ste_ray.training.examples import REFUSED, TOKENISED, TokenisedRow

ROWS_PER_SHARD = 4096
_SPACE = 2**64


@dataclass(frozen=True)
class Shard:
    """A shard's file and what it holds."""

    split: str
    number: int
    path: str  # within the run; empty if no row is left
    rows: int = 0
    tokens: int = 0
    label_tokens: int = 0
    longest: int = 0
    truncated: int = 0
    skipped: int = 0
    first_skipped: str = ""  # id of a row that was skipped because it is too long
    refused: int = 0  # rows that cannot be written in the native form
    first_refused: str = ""  # id of one of them, and why
    kinds: dict[str, int] = field(default_factory=dict)  # rows by kind

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Sharding:
    """How tokenised rows are spread over shards: a number for each shard of each split.

    Attributes:
        seed: decides where a row stands.
        num_train: shards of the training split; they have the first numbers.
        num_validation: shards of the validation split.
    """

    seed: int
    num_train: int
    num_validation: int

    @classmethod
    def of(cls, seed: int, train_rows: int, validation_rows: int) -> Sharding:
        """Return the sharding of so many rows."""
        return cls(seed, num_shards(train_rows), num_shards(validation_rows))

    def keys(self, table: pa.Table) -> pa.Array:
        """Return the shard's number of each row of the schema ``TOKENISED``."""
        splits = table["split"].to_pylist()
        return pa.array(
            [
                shard_number(place, self.num_train)
                if split == "train"
                else self.num_train + shard_number(place, self.num_validation)
                for place, split in zip(places(table, self.seed), splits, strict=True)
            ],
            pa.int32(),
        )

    def make(self, table: pa.Table, key: int) -> tuple[Shard, bytes]:
        """Return the shard with a number, and its file."""
        if key < self.num_train:
            return make_shard(table, "train", key, self.seed)
        return make_shard(table, "validation", key - self.num_train, self.seed)


def num_shards(num_rows: int) -> int:
    """Return into how many shards so many rows are divided."""
    return max(1, -(-num_rows // ROWS_PER_SHARD))


def places(table: pa.Table, seed: int) -> list[int]:
    """Return a number below 2**64 for each row, by which rows are spread and sorted."""
    key = str(seed).encode()
    return [
        int.from_bytes(blake2b(row_id.encode(), digest_size=8, key=key).digest(), "big")
        for row_id in table["row_id"].to_pylist()
    ]


def shard_number(place: int, count: int) -> int:
    """Return in which of ``count`` shards a row with that place stands."""
    return place * count // _SPACE


def make_shard(table: pa.Table, split: str, number: int, seed: int) -> tuple[Shard, bytes]:
    """Return a shard of rows of the schema ``TOKENISED``, and its file; too long ones are left out.

    So are those that could not be written. The order of the given rows does not matter.
    """
    table, refused = _without_refused(table)
    fits = pc.greater(pc.list_value_length(table["input_ids"]), 0)
    skipped = table.filter(pc.invert(fits)).sort_by("row_id")
    kept = table.filter(fits)
    kept = kept.append_column("place", pa.array(places(kept, seed), pa.uint64()))
    kept = kept.sort_by([("place", "ascending"), ("row_id", "ascending")]).select(TOKENISED.names)
    lengths = pc.list_value_length(kept["input_ids"])
    tokens = pc.sum(lengths).as_py() or 0
    shard = Shard(
        split=split,
        number=number,
        path=layout.shard(split, number) if kept.num_rows else "",
        rows=kept.num_rows,
        tokens=tokens,
        label_tokens=tokens - (pc.sum(kept["prompt_tokens"]).as_py() or 0),
        longest=pc.max(lengths).as_py() or 0,
        truncated=pc.sum(kept["truncated"]).as_py() or 0,
        skipped=skipped.num_rows,
        first_skipped=skipped["row_id"][0].as_py() if skipped.num_rows else "",
        refused=refused.num_rows if refused else 0,
        first_refused=_named(refused) if refused else "",
        kinds={
            item["values"]: item["counts"] for item in pc.value_counts(kept["kind"]).to_pylist()
        },
    )
    buffer = io.BytesIO()
    pq.write_table(kept, buffer, compression="zstd", write_page_checksum=True)
    return shard, buffer.getvalue()


def _without_refused(table: pa.Table) -> tuple[pa.Table, pa.Table | None]:
    if REFUSED not in table.column_names:
        return table, None
    written = pc.equal(table[REFUSED], "")
    refused = table.filter(pc.invert(written)).sort_by("row_id")
    return table.filter(written), refused if refused.num_rows else None


def _named(refused: pa.Table) -> str:
    first = refused.slice(0, 1).to_pylist()[0]
    return f"{first['row_id']!r}: {first[REFUSED]}"


def rows_of(table: pa.Table) -> list[TokenisedRow]:
    """Return the rows of a table of the schema ``TOKENISED``; ids share the table's memory."""
    rows = []
    for batch in table.combine_chunks().to_batches():
        ids = batch.column("input_ids")
        # A copy, because torch wants arrays it could write to.
        offsets, values = ids.offsets.to_numpy(), ids.values.to_numpy().copy()
        names = batch.column("row_id").to_pylist()
        prompts = batch.column("prompt_tokens").to_pylist()
        for index, name in enumerate(names):
            tokens = values[offsets[index] : offsets[index + 1]]
            rows.append(TokenisedRow(name, tokens, prompts[index]))
    return rows


def parse_shard(data: bytes, kind: str = "") -> list[TokenisedRow]:
    """Return the rows of a shard's file, in its order; with a ``kind``, those of it alone.

    Raises:
        pyarrow.ArrowException, OSError: it is damaged.
    """
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    table = file.read(columns=TOKENISED.names)
    return rows_of(table.filter(pc.equal(table["kind"], kind)) if kind else table)


class CachedShards:
    """Reads shards by ``read`` and keeps the last few of them in memory."""

    def __init__(self, read: Callable[[int], Sequence[TokenisedRow]], num_kept: int = 3) -> None:
        self._read = read
        self._num_kept = num_kept
        self._kept: OrderedDict[int, Sequence[TokenisedRow]] = OrderedDict()

    def rows(self, shard: int) -> Sequence[TokenisedRow]:
        """Return all rows of a shard, in its order."""
        if shard not in self._kept:
            self._kept[shard] = self._read(shard)
            while len(self._kept) > self._num_kept:
                self._kept.popitem(last=False)
        self._kept.move_to_end(shard)
        return self._kept[shard]
