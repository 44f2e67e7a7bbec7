"""Which test requests are unlike anything in training: in how they are worded, and in their values.

A split by whole calls (``prepare.group_by=arguments``) leaves no test call in training, but lets
single values and the wording around them stand there. Here both are looked up. Only what a test
could be found by is kept, values as 64-bit hashes, so any number of training examples can pass by
once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from ste_ray.core.preparing.values import stands_in
from ste_ray.core.records import Record, canonical_json
from ste_ray.core.schemas.values import Place, described
from ste_ray.core.scoring.phrasings import Phrasings, masked_query
from ste_ray.core.tool_specs import ToolSpec

_NAMED = ("enum", "const")  # what the schema itself lists is learned with the tool


class Call(NamedTuple):
    """A request with the call that answers it, as much of an example as matters here."""

    example_id: str
    tool: str
    query: str
    arguments_json: str  # an object


class TestNovelty(Record):
    """How many test requests are unseen, and in what; those that need no call do not count.

    Attributes:
        n: test requests.
        phrasing: of them those whose phrasing is unseen.
        values: those whose values are unseen.
        both: those where both are.
        tools: right tools of those where both are.
        training_examples: what they were looked up in.
    """

    __test__ = False  # no test, whatever pytest takes its name for
    n: int
    phrasing: int
    values: int
    both: int
    tools: int
    training_examples: int


class Unseen(NamedTuple):
    """The ids of the test requests that are unseen in phrasing and values, and their numbers."""

    example_ids: frozenset[str]
    novelty: TestNovelty


class TrainingLookup:
    """Finds out which test requests are unseen in training.

    The *phrasing* of a test request is unseen if no training request of any tool has the same
    (``masked_query``).

    Its *values* are unseen if at least one *free* value of its call stands in no training call of
    its tool as the value of the same argument. Free is a value that stands in the request, is
    neither boolean nor null, and that the schema does not list (``enum``, ``const``). Values are
    the same without regard to case and white space, numbers if they are equal; items of a list
    are all values of the one argument. A call without a free value is unseen if no training call
    of its tool has the same arguments.

    Paraphrases are training requests like all others. Validation examples are not.

    Args:
        tests: requests of the test split that need a call, with unlike ids.
        spec_by_name: the tools; of one that is not there, no schema is known.
    """

    def __init__(self, tests: Iterable[Call], spec_by_name: Mapping[str, ToolSpec]) -> None:
        self._tests = list(tests)
        self._phrasing: dict[str, str] = {}
        self._values: dict[str, frozenset[int]] = {}
        for test in self._tests:
            spec = spec_by_name.get(test.tool)
            self._phrasing[test.example_id] = masked_query(test.query, test.arguments_json)
            self._values[test.example_id] = _value_keys(test, spec.parameters if spec else {})

    @property
    def wanted(self) -> Wanted:
        """What has to be looked for in training, whatever the number of examples there."""
        return Wanted(
            Phrasings(self._phrasing.values()),
            frozenset[int]().union(*self._values.values()),
            frozenset(test.tool for test in self._tests),
        )

    def unseen(self, found: Iterable[Found]) -> Unseen:
        """Return which test requests are unseen.

        Args:
            found: what ``Wanted.found_in`` found in the training examples, of all their parts.
        """
        parts = list(found)
        phrasings = frozenset[str]().union(*(part.phrasings for part in parts))
        values = frozenset[int]().union(*(part.values for part in parts))
        new_phrasing = {key for key, one in self._phrasing.items() if one not in phrasings}
        new_values = {key for key, these in self._values.items() if not these <= values}
        both = frozenset(new_phrasing & new_values)
        novelty = TestNovelty(
            n=len(self._tests),
            phrasing=len(new_phrasing),
            values=len(new_values),
            both=len(both),
            tools=len({test.tool for test in self._tests if test.example_id in both}),
            training_examples=sum(part.training_examples for part in parts),
        )
        return Unseen(both, novelty)


class Found(NamedTuple):
    """What of the tests' phrasings, values and calls stands in some training examples."""

    phrasings: frozenset[str]
    values: frozenset[int]
    training_examples: int  # how many these are


class Wanted(NamedTuple):
    """What tests could be found by: phrasings, hashes of values and calls, and the tests' tools."""

    phrasings: Phrasings
    values: frozenset[int]
    tools: frozenset[str]

    def found_in(self, training: Iterable[Call]) -> Found:
        """Look through training examples, which pass by once."""
        phrasings: set[str] = set()
        values: set[int] = set()
        number = 0
        for call in training:
            number += 1
            phrasing = self.phrasings.find(call.query, call.arguments_json)
            if phrasing is not None:
                phrasings.add(phrasing)
            if call.tool in self.tools:
                values.update(self.values.intersection(_all_keys(call)))
        return Found(frozenset(phrasings), frozenset(values), number)


def _all_keys(call: Call) -> Iterator[int]:
    """Yield the keys of a call and of all values in it."""
    arguments = json.loads(call.arguments_json)
    yield _call_key(call.tool, arguments)
    for path, value in _leaves(arguments):
        yield _value_key(call.tool, path, value)


def _value_keys(test: Call, schema: Mapping[str, Any]) -> frozenset[int]:
    """Return the keys of the free values of a call; without any, the key of the whole call."""
    arguments = json.loads(test.arguments_json)
    free = [
        leaf
        for leaf in _leaves(arguments, described(schema))
        if stands_in(leaf[1] if isinstance(leaf[1], str) else json.dumps(leaf[1]), test.query)
    ]
    if not free:
        return frozenset({_call_key(test.tool, arguments)})
    return frozenset(_value_key(test.tool, *leaf) for leaf in free)


def _leaves(
    value: Any, place: Place | None = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str | int | float]]:
    """Yield the values within arguments, with the names of the properties they stand in.

    Booleans and null are left out, and with a ``place`` what the schema lists there.
    """
    part = None if place is None else place.of(value)
    if part is not None and part.has(*_NAMED):
        return
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, part.property(name) if part else None, (*path, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _leaves(one, part.item(number) if part else None, path)
    elif value is not None and not isinstance(value, bool):
        yield path, value


def _value_key(tool: str, path: tuple[str, ...], value: str | int | float) -> int:
    if isinstance(value, str):
        return _key("value", tool, *path, "text", " ".join(value.casefold().split()))
    return _key("value", tool, *path, "number", str(Decimal(str(value)).normalize()))


def _call_key(tool: str, arguments: Mapping[str, Any]) -> int:
    return _key("call", tool, canonical_json(arguments))


def _key(*parts: str) -> int:
    text = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
