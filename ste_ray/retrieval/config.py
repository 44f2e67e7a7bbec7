"""The section ``retrieve``."""

from __future__ import annotations

from typing import ClassVar, Literal

from ste_ray.core.section import Section, key


class RetrieveConfig(Section):
    """Candidate tools and demonstrations for each test query."""

    retired: ClassVar = {
        "search": "was dropped: the search is exact up to a million examples, beyond by an index",
    }
    settled: ClassVar = {"search": "auto"}

    encoder: str = key(
        "hashed-ngrams",
        "What texts are compared by: hashed-ngrams, or a sentence-transformers model by its hub "
        "name or folder.",
    )
    num_tools: int = key(15, "Candidate tools of a query.", ge=1)
    candidates: Literal["retrieved", "oracle"] = key(
        "retrieved",
        "What is found; or the same with the right tool always among it, at a place that tells "
        "nothing.",
    )
    num_demonstrations: int = key(8, "Demonstrations of a query.", ge=0)
    max_per_tool: int = key(0, "Demonstrations of one tool at most; 0: any number.", ge=0)
    diversity: float = key(
        0.0,
        "0: the nearest demonstrations; towards 1: those that least resemble the chosen ones.",
        ge=0,
        le=1,
    )
    order: Literal["nearest_last", "nearest_first"] = key(
        "nearest_last", "Order of the demonstrations in the prompt."
    )
