"""Other ways to ask the test requests of a setting, beside which its own figures are read.

The answers of a variant are kept apart from those of its setting: no figure of the setting counts
them. A variant is a setting of its own, with the way behind a dot: tuned/toolken.repeat-2. Asked
anew are those requests alone of which there are figures by variant (``is_asked_anew``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ste_ray.core.inferring.settings import Setting
from ste_ray.core.records import Example, Score
from ste_ray.errors import ConfigError

_REPEAT = "repeat-"


def repeated(settings: Sequence[Setting], times: int) -> Iterator[Setting]:
    """Yield the variants that ask every request again, until it was asked so many times."""
    for setting in settings:
        for number in range(2, times + 1):
            yield replace(setting, variant=f"{_REPEAT}{number}")


def check_repeats(settings: Sequence[Setting], times: int, temperature: float) -> None:
    """Check that a request which is asked again may be answered otherwise.

    Raises:
        ConfigError: a local model decodes greedily.
    """
    local = [setting.name for setting in settings if not setting.is_endpoint]
    if times > 1 and not temperature and local:
        raise ConfigError(
            f"infer.repeats={times} asks {local[0]!r} the same {times} times, and with"
            " infer.temperature=0 a local model answers the same each time; give a temperature"
            " above 0, or infer.repeats=1"
        )


def setting_of(name: str) -> str:
    """Return the setting that a variant belongs to, by their names."""
    return name.partition(".")[0]


def way_of(name: str) -> str:
    """Return in which way the variant ``name`` asks; empty: as its setting is configured."""
    return name.partition(".")[2]


def is_asked_anew(one: Example | Score) -> bool:
    """Whether a request is asked in other ways: an explicit one, or one that no tool fits."""
    return one.kind == "explicit" if one.tool else one.kind != "missing_argument"


def is_repeat(name: str) -> bool:
    """Whether the variant ``name`` asks the same again."""
    return way_of(name).startswith(_REPEAT)
