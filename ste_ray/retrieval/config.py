"""The section ``retrieve``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ste_ray.core.section import Section


class RetrieveConfig(Section):
    """Candidate tools and demonstrations for each test query."""

    retired: ClassVar = {
        "search": "was dropped: the search is exact up to a million examples, beyond by an index",
    }
    settled: ClassVar = {"search": "auto"}

    encoder: str = "hashed-ngrams"  # or a sentence-transformers model, by hub name or folder
    num_tools: int = Field(default=15, ge=1)
    # oracle: the right tool always is among the candidates, at a place that tells nothing
    candidates: Literal["retrieved", "oracle"] = "retrieved"
    num_demonstrations: int = Field(default=8, ge=0)
    max_per_tool: int = Field(default=0, ge=0)  # demonstrations of one tool; 0: any number
    # 0: the nearest ones; up to 1: those that resemble the chosen ones least
    diversity: float = Field(default=0.0, ge=0, le=1)
    order: Literal["nearest_last", "nearest_first"] = "nearest_last"  # in the prompt
