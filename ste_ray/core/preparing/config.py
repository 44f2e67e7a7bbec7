"""The section ``prepare``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ste_ray.core.section import Section, operational

# Share of common character 4-grams from which two requests read nearly alike: below it, requests
# that differ in what they ask are caught too.
NEAR_DUPLICATE_SIMILARITY = 0.7


class NoCallConfig(Section):
    """Training rows whose right answer is no call, to teach restraint."""

    general: int = Field(default=0, ge=0)  # so many general requests, answered without a call
    held_out_tools: tuple[str, ...] = ()  # the model learns that it does not have these


class MixConfig(Section):
    """What is trained on: the tools, general data, and in rounds what is replayed."""

    tools: bool = True  # false: general data alone, as a baseline
    general_data: str = ""  # a JSON or JSONL file of general examples; empty: none
    general_examples: int = Field(default=2000, ge=0)  # so many of them, drawn by the seed
    general_held_out: int = Field(default=0, ge=0)  # further ones that no training sees, to check
    rounds: tuple[tuple[str, ...], ...] = ()  # names of the tools, in the order they arrive
    replay_fraction: float = Field(default=0.1, ge=0, le=1)  # of each earlier round's examples

    @model_validator(mode="after")
    def _one_round_a_tool(self) -> MixConfig:
        seen: set[str] = set()
        for name in (name for names in self.rounds for name in names):
            if name in seen:
                raise ValueError(f"the tool {name!r} stands in rounds twice; name it once")
            seen.add(name)
        return self


class PrepareConfig(Section):
    """Select, filter, deduplicate, paraphrase, split, format and mix."""

    retired: ClassVar = {
        "flush_seconds": "is now 'flush_seconds', one for all stages",
        "near_duplicate_similarity": f"was dropped: it is always {NEAR_DUPLICATE_SIMILARITY}; "
        "'prepare.near_duplicates' says what becomes of requests that read so much alike",
        "simulated_observations": "is now in the list 'prepare.drop': simulated",
        "error_observations": "is now in the list 'prepare.drop': errors",
        "invalid_arguments": "is now in the list 'prepare.drop': invalid_arguments",
    }
    settled: ClassVar = {"near_duplicate_similarity": NEAR_DUPLICATE_SIMILARITY}

    # trials left out: whose observations a model wrote, whose call ended in an error of the tool,
    # or whose arguments do not fit the schema (of tools that judge them themselves)
    drop: tuple[Literal["simulated", "errors", "invalid_arguments"], ...] = ()
    judge: bool = True  # false: no filter
    judge_temperature: float = Field(default=0.0, ge=0)
    # requests of one tool that read nearly alike: dropped if they also lead to the same call; all;
    # none
    near_duplicates: Literal["same_call", "any", "keep"] = "same_call"
    target_per_tool: int = Field(default=150, ge=1)
    max_paraphrases: int = Field(default=6, ge=0)
    paraphrase_test: bool = False  # a test request stands for one person's words
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    test_fraction: float = Field(default=0.2, ge=0, lt=1)
    group_by: Literal["query", "arguments", "episode"] = "arguments"  # what must not cross splits
    tool_responses: bool = True  # also train on observation -> final answer
    no_call: NoCallConfig = NoCallConfig()
    mix: MixConfig = MixConfig()
    num_workers: int = operational(2, ge=1)

    def result_fields(self) -> dict[str, Any]:
        """See ``Section``; what is dropped counts under the keys that it once had."""
        fields = super().result_fields()
        dropped = fields.pop("drop")
        for name, one in (
            ("simulated_observations", "simulated"),
            ("error_observations", "errors"),
            ("invalid_arguments", "invalid_arguments"),
        ):
            fields[name] = "drop" if one in dropped else "keep"
        return fields

    @model_validator(mode="after")
    def _fractions(self) -> PrepareConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must stay below 1")
        return self
