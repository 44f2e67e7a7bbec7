"""What comes of general data: rows to train and validate on, and tests that need no call.

Rows become ``prepare/rows/general-00000.parquet``, tests the file ``no-call-00000.parquet`` among
the examples. Who is drawn for what depends on the seed and the file alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ste_ray.core import layout
from ste_ray.core.preparing.config import PrepareConfig
from ste_ray.core.preparing.formatting import (
    general_no_call_row,
    general_no_call_test,
    general_row,
)
from ste_ray.core.preparing.mixing import draw_number
from ste_ray.core.records import Example, Message, TrainRow, fingerprint
from ste_ray.errors import ConfigError
from ste_ray.imports.general_data import Dialog, GeneralData
from ste_ray.resources import resource_folder
from ste_ray.stages.base import StageContext
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import write_records


@dataclass(frozen=True)
class GeneralDrawn:
    """What was drawn of general data.

    Attributes:
        rows: to train and validate on.
        tests: requests that need no call, none of which is in ``rows``.
    """

    rows: Sequence[TrainRow] = ()
    tests: Sequence[Example] = ()


def open_general_data(name: str) -> GeneralData:
    """Return the general data of a configuration: a file, or one that ships with the project."""
    return GeneralData(name, shipped=resource_folder("jobs"))


def draw_general(context: StageContext) -> GeneralDrawn:
    """Draw general examples and requests that need no call.

    What was asked for by number comes first where the file is short: tests, then restraint to train
    on; general examples share what is left.

    Raises:
        ConfigError: the file cannot be used, or is too short.
    """
    section, seed, prompts = context.config.prepare, context.config.seed, context.prompts
    mix, no_call = section.mix, section.no_call
    if not mix.general_data:
        _require_no_general_data(section)
        return GeneralDrawn()
    data = open_general_data(mix.general_data)
    tests = _tests(data, no_call.test, seed)
    if len(tests) < no_call.test:
        raise ConfigError(
            f"prepare.no_call.test={no_call.test!r}, but {mix.general_data!r} holds {len(tests)} "
            "different requests of one turn; lower it or give a larger file"
        )
    drawn = heapq.nsmallest(
        no_call.general + mix.general_examples + mix.general_held_out,
        _without(data, tests),
        key=lambda example: draw_number(_identity(*example), seed, "general"),
    )
    if data.skipped:
        (reason, _), total = data.skipped.most_common(1)[0], data.skipped.total()
        context.notes.append(
            f"{total} rows of {mix.general_data!r} could not be used, most often: {reason}"
        )
    if len(drawn) < no_call.general:
        besides = f" besides {len(tests)} for prepare.no_call.test" if tests else ""
        raise ConfigError(
            f"prepare.no_call.general={no_call.general!r}, but {mix.general_data!r} holds "
            f"{len(drawn)} examples{besides}; lower it or give a larger file"
        )
    no_calls, general = drawn[: no_call.general], drawn[no_call.general :]
    trained, held_out = general[: mix.general_examples], general[mix.general_examples :]
    rows = [general_row(*one, "train", prompts) for one in trained]
    rows += [general_row(*one, "validation", prompts) for one in held_out]
    rows += [general_no_call_row(*one, "train", prompts) for one in no_calls]
    return GeneralDrawn(rows, tests)


def write_general(store: RunStore, drawn: GeneralDrawn) -> None:
    """Put rows and tests beside those of the tools; none removes what an earlier attempt left."""
    _write(store, layout.GENERAL_ROWS, drawn.rows, TrainRow)
    _write(store, layout.NO_CALL_TESTS, drawn.tests, Example)


def _write(
    store: RunStore, path: str, records: Sequence[TrainRow] | Sequence[Example], model: type
) -> None:
    if records:
        write_records(store, path, records, model)
    else:
        store.delete(path)


def _require_no_general_data(section: PrepareConfig) -> None:
    asked = {
        f"mix.tools={section.mix.tools!r}": not section.mix.tools,
        f"no_call.general={section.no_call.general!r}": section.no_call.general > 0,
        f"no_call.test={section.no_call.test!r}": section.no_call.test > 0,
    }
    for setting, given in asked.items():
        if given:
            raise ConfigError(
                f"prepare.{setting} needs general data; set prepare.mix.general_data to a file"
            )


def _tests(data: Iterable[tuple[Dialog, str]], number: int, seed: int) -> list[Example]:
    """Draw requests of a single turn, each wording once."""
    if not number:
        return []
    drawn = heapq.nsmallest(number, _single_turns(data, seed), key=lambda one: one[0])
    return [general_no_call_test(query, answer) for _, query, answer in drawn]


def _single_turns(data: Iterable[tuple[Dialog, str]], seed: int) -> Iterator[tuple[int, str, str]]:
    """Yield the number in the draw, request and answer; of equal requests only the first."""
    seen: set[int] = set()
    for dialog, response in data:
        if len(dialog) == 1:
            query = dialog[0].content
            number = draw_number(_worded(query), seed, "no-call test")
            if number not in seen:
                seen.add(number)
                yield number, query, response


def _without(
    data: Iterable[tuple[Dialog, str]], tests: Sequence[Example]
) -> Iterator[tuple[Dialog, str]]:
    """Yield the examples in which nobody asks what is tested, whatever is answered there."""
    tested = {_worded(one.query) for one in tests}
    for dialog, response in data:
        if not any(one.role == "user" and _worded(one.content) in tested for one in dialog):
            yield dialog, response


def _worded(query: str) -> str:
    """Return what makes two requests the same one: their words, whatever case and space."""
    return " ".join(query.casefold().split())


def _identity(dialog: Sequence[Message], response: str) -> str:
    return fingerprint([message.digest for message in dialog], response)
