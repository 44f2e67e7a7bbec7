"""Functions that say of themselves what they take, or fail to, described by the tests."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import os
import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

print("noise at import")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Place:
    lat: float
    lng: float


class Order(BaseModel):
    item: str
    count: int = Field(1, ge=1)


class Options(TypedDict, total=False):
    loud: bool


def google(net: float, country: Literal["DE", "FR"], note: str | None = None) -> dict[str, float]:
    """Adds the sales tax of a country to a net price.

    The rates are those of today.

    Args:
        net: Net price
            in euros.
        country: Where it is sold.
        note: Printed on the bill.

    Returns:
        The price.
    """
    return {"gross": net * 1.2, "noted": 0.0 if note is None else 1.0}


def numpy(items: list[int], options: Options) -> list[int]:
    """
    Sorts numbers.

    Parameters
    ----------
    items : list of int
        What to sort.
    options : dict
        How.
    """
    return sorted(items)


def sphinx(title: str, schema: dict[str, int]) -> str:
    """Joins.

    :param title: What comes first.
    :param schema: What follows.
    """
    return title + str(schema)


def rich(
    day: datetime.date,
    colour: Colour,
    place: Place,
    order: Order,
    amount: decimal.Decimal,
    key: uuid.UUID | None = None,
    tags: set[str] = frozenset(),
    level: Annotated[int, Field(ge=0, le=9, description="how much")] = 3,
) -> Order:
    """Takes what JSON has no types for."""
    assert isinstance(day, datetime.date)
    assert isinstance(colour, Colour)
    assert isinstance(place, Place)
    assert isinstance(order, Order)
    assert isinstance(amount, decimal.Decimal)
    assert key is None or isinstance(key, uuid.UUID)
    assert isinstance(tags, set | frozenset)
    return order


def dated() -> dict[str, object]:
    """Returns what JSON has no types for."""
    return {"day": datetime.date(2026, 3, 2), "place": Place(1.0, 2.0), "colour": Colour.RED}


async def slow(seconds: float) -> str:
    """Waits."""
    return f"waited {seconds}"


def secret_names() -> dict[str, str | None]:
    """Tells what it finds in its environment."""
    return {name: os.environ.get(name) for name in ("MY_KEY", "OTHER_KEY")}


def undocumented(a: int) -> int:
    return a


def unhinted(a, b: int = 1) -> int:
    """Lacks a hint."""
    return b


def gathering(*numbers: int) -> int:
    """Takes any number."""
    return sum(numbers)


def keywords(**names: int) -> int:
    """Takes any names."""
    return sum(names.values())


def positional(a: int, /) -> int:
    """Takes an argument without a name."""
    return a


class Odd:
    pass


def unsupported(odd: Odd) -> str:
    """Takes an object."""
    return str(odd)


def dangling(a: NoSuchType) -> str:  # type: ignore[name-defined] # noqa: F821
    """Has a hint that means nothing."""
    return a


def _private(a: int) -> int:
    """Is nobody's business."""
    return a
