"""The section ``prepare``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from ste_ray.core.section import Section, key, operational
from ste_ray.core.test_making.config import TestsConfig

# Share of common character 4-grams from which two requests read nearly alike: below it, requests
# that differ in what they ask are caught too.
NEAR_DUPLICATE_SIMILARITY = 0.7


class NoCallConfig(Section):
    """Requests whose right answer is no call, to teach restraint and to test it."""

    general: int = key(
        0, "Number of general requests to train on that are answered without a call.", ge=0
    )
    test: int = key(
        0,
        "Number of general requests of one turn that no training sees, to test restraint on.",
        unless_empty=True,
        ge=0,
    )
    held_out_tools: tuple[str, ...] = key(
        (), "Tools left out of training, which the model learns that it does not have; empty: none."
    )


class MixConfig(Section):
    """What is trained on: the tools, general data, and in rounds what is replayed."""

    tools: bool = key(True, "Train on the tools; false: on general data alone, as a baseline.")
    general_data: str = key(
        "", "A JSON or JSONL file of general examples, or the name of a shipped one; empty: none."
    )
    general_examples: int = key(2000, "Number of general examples, drawn by the seed.", ge=0)
    general_held_out: int = key(
        0, "Number of further ones that no training sees, to check general ability on.", ge=0
    )
    rounds: tuple[tuple[str, ...], ...] = key(
        (), "Lists of tools, in the order in which they arrive; empty: all at once."
    )
    replay_fraction: float = key(
        0.1, "Share of each earlier round's examples that a round replays.", ge=0, le=1
    )

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

    drop: tuple[Literal["simulated", "errors", "invalid_arguments"], ...] = key(
        (),
        "Trials that are left out: with an observation that a model wrote, with a call that ended "
        "in an error of the tool, with arguments that do not fit the schema; empty: none.",
    )
    judge: bool = key(True, "Have the judge filter trials; false: no filter.")
    judge_temperature: float = key(0.0, "Sampling temperature of the judge.", ge=0)
    near_duplicates: Literal["same_call", "any", "keep"] = key(
        "same_call",
        "Requests of one tool that read nearly alike: drop those that lead to the same call, "
        "drop any, or keep them.",
    )
    target_per_tool: int = key(150, "Examples of each tool to reach by paraphrasing.", ge=1)
    max_paraphrases: int = key(6, "Paraphrases of one request at most.", ge=0)
    paraphrase_test: bool = key(
        False, "Paraphrase test requests too; false: each is one person's words."
    )
    validation_fraction: float = key(0.1, "Share of the groups for validation.", ge=0, lt=1)
    test_fraction: float = key(0.2, "Share of the groups for the test.", ge=0, lt=1)
    group_by: Literal["query", "arguments", "episode"] = key(
        "arguments", "What requests share that must not stand in two splits."
    )
    tool_responses: bool = key(
        True, "Train on the final answer after an observation too; false: on calls alone."
    )
    response_fraction: float = key(
        1.0,
        "Share of the examples whose final answer is trained too, drawn by the seed, where "
        "prepare.tool_responses is true.",
        gt=0,
        le=1,
    )
    trajectories: Literal["last_call", "corrections"] = key(
        "last_call",
        "What is trained of a trial: its last call; or also how it mended calls that had failed, "
        "after these and what came back.",
    )
    correction_fraction: float = key(
        0.25,
        "Share of a tool's requests at most whose corrections are trained, rounded up and drawn by "
        "the seed, where prepare.trajectories is corrections.",
        gt=0,
        le=1,
    )
    no_call: NoCallConfig = NoCallConfig()
    tests: TestsConfig = TestsConfig()
    mix: MixConfig = MixConfig()
    num_workers: int = operational(2, "Worker processes.", ge=1)

    @property
    def trains_answers(self) -> bool:
        """Whether final answers are among the training rows."""
        return self.tool_responses and self.response_fraction > 0

    @property
    def reads_corrections(self) -> bool:
        """Whether calls that were mended are looked for, to train on them or to test."""
        return self.trajectories == "corrections" or bool(self.tests.recovery)

    def result_fields(self) -> dict[str, Any]:
        """See ``Section``; what is dropped counts under the keys that it once had.

        Where all final answers are trained, or none, their share does not count, nor do tests of
        other kinds where none is made, nor corrections where none is trained: what is made is that
        of runs from before there was the key.
        """
        fields = super().result_fields()
        if self.response_fraction == 1 or not self.tool_responses:
            del fields["response_fraction"]
        if self.trajectories == "last_call":
            del fields["trajectories"], fields["correction_fraction"]
        if not fields["tests"]:
            del fields["tests"]
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
