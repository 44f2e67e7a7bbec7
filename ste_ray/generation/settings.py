"""Inference settings: which model answers, and what its prompt holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from ste_ray.errors import ConfigError

ModelName = Literal["base", "tuned"]
PromptKind = Literal["retrieved", "icl", "toolken"]

# A model that was never tuned has no toolkens, hence no base/toolken.
ALLOWED_SETTINGS = ("base/retrieved", "base/icl", "tuned/retrieved", "tuned/icl", "tuned/toolken")


@dataclass(frozen=True)
class Setting:
    """One way to answer the test queries, written ``MODEL/PROMPT``.

    Attributes:
        model: ``base`` before training, ``tuned`` after it.
        prompt: ``retrieved`` shows candidate tools, ``icl`` demonstrations too, ``toolken`` none.
    """

    model: ModelName
    prompt: PromptKind

    @property
    def name(self) -> str:
        """The setting as it is written in the configuration."""
        return f"{self.model}/{self.prompt}"

    @property
    def folder_name(self) -> str:
        """The setting as one part of a path."""
        return f"{self.model}-{self.prompt}"


def parse_settings(names: Sequence[str]) -> list[Setting]:
    """Return the settings called ``names``.

    Raises:
        ConfigError: there is none, one is unknown, or one is given twice.
    """
    allowed = ", ".join(ALLOWED_SETTINGS)
    if not names:
        raise ConfigError(f"infer.settings is empty; give at least one of: {allowed}")
    settings = []
    for name in names:
        if name not in ALLOWED_SETTINGS:
            raise ConfigError(f"unknown setting {name!r} in infer.settings; allowed: {allowed}")
        if names.count(name) > 1:
            raise ConfigError(f"setting {name!r} is given twice in infer.settings; give it once")
        model, _, prompt = name.partition("/")
        settings.append(Setting(cast(ModelName, model), cast(PromptKind, prompt)))
    return settings
