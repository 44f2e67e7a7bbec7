"""Prepares one partition: select, filter, deduplicate, paraphrase, split, format and make tests.

Rows stream through: the trials are read a few hundred at a time, drafts wait in a spool on the
local disk, results leave for files. What is held in memory a trial is a hash and a status.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.correcting import trained_corrections
from ste_ray.stages.prepare.duplicates import duplicate_reasons
from ste_ray.stages.prepare.expanding import expand
from ste_ray.stages.prepare.kinds import make_tests
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.screening import screened
from ste_ray.stages.prepare.spool import Draft, Spool


async def prepare_partition(
    tables: Iterator[pa.Table], context: PrepareContext, spool: Spool, outputs: Outputs
) -> None:
    """Prepare the trials of whole tools.

    Args:
        tables: columns ``tool`` and ``trials``, those of a tool one after the other.
        context: of the partition.
        spool: empty.
        outputs: where the results go; to be uploaded by the caller.
    """
    async for draft in screened(tables, context, outputs):
        spool.add(draft)
    spool.finish()
    reasons = duplicate_reasons(spool, context.config.prepare)
    texts = _kept_texts(spool, reasons)
    corrected = trained_corrections(_passed(spool, reasons), context)
    await expand(_kept(spool, reasons, outputs), texts, corrected, context, outputs)
    if context.config.prepare.tests:
        await make_tests(_passed(spool, reasons), texts, context, outputs)


def _passed(spool: Spool, reasons: list[str]) -> Iterator[Draft]:
    return (draft for draft, reason in zip(spool, reasons, strict=True) if not reason)


def _kept_texts(spool: Spool, reasons: list[str]) -> dict[str, set[int]]:
    """Return, for each tool, the hashes of the queries that are kept."""
    texts: dict[str, set[int]] = {}
    for tool, text, reason in zip(spool.tools, spool.texts, reasons, strict=True):
        if not reason:
            texts.setdefault(tool, set()).add(text)
    return texts


def _kept(spool: Spool, reasons: list[str], outputs: Outputs) -> Iterator[Draft]:
    for draft, reason in zip(spool, reasons, strict=True):
        if reason:
            outputs.drop(draft, "deduplicate", reason)
        else:
            yield draft
