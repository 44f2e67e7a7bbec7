"""A test request: what was retrieved for it, its own messages, the answer, and the score."""

from __future__ import annotations

from typing import Literal

from ste_ray.core.records.base import SCHEMA_VERSION, Record
from ste_ray.core.records.exploration import ObservationStatus
from ste_ray.core.records.failed_calls import FailedCall
from ste_ray.core.records.kinds import TestKind
from ste_ray.core.records.messages import Message, MessageCall
from ste_ray.core.records.replies import Oddity


class Neighbor(Record):
    """A retrieved item and its similarity."""

    key: str
    score: float


class Retrieved(Record):
    """Candidate tools and demonstrations for one test query, best first."""

    schema_version: int = SCHEMA_VERSION
    example_id: str
    tools: tuple[Neighbor, ...]
    demonstrations: tuple[Neighbor, ...]  # keys are example ids of the training split


class TestDialog(Record):
    """The messages that a test query is asked with, as its test data bring them."""

    __test__ = False  # no test, whatever pytest takes its name for
    schema_version: int = SCHEMA_VERSION
    example_id: str
    messages: tuple[Message, ...]
    candidates: tuple[str, ...] = ()  # names of the tools that the messages describe, if known


class Prediction(Record):
    """What a model answered to one test query in one setting."""

    schema_version: int = SCHEMA_VERSION
    example_id: str
    setting: str
    tool: str  # gold; empty: no call is right
    query: str
    arguments_json: str  # gold; empty: no call is right
    candidates: tuple[str, ...]
    output_text: str
    accepted_json: str = ""  # as in the example
    error: str = ""
    prompt_tokens: int = 0  # of the prompt that asks for the call; 0: not known
    completion_tokens: int = 0  # of the reply to it
    final_prompt_tokens: int = 0  # of the prompt that asks for the final answer; 0: there is none
    final_completion_tokens: int = 0
    tools_left_out: int = 0  # candidates that did not fit the model's positions
    demonstrations_left_out: int = 0
    observation: str = ""  # of the call, where it was executed
    observation_status: ObservationStatus = "none"
    final_answer: str = ""  # after the observation
    final_error: str = ""  # why there is no final answer
    output_cut: bool = False  # it has not come to its end within ``infer.max_new_tokens``
    final_cut: bool = False  # nor has the final answer
    reasoning: str = ""  # what the model wrote before the output
    final_reasoning: str = ""  # and before the final answer
    reasoning_tokens: int = 0  # of the completion tokens of both; see ``ModelReply``
    native: bool = False  # whether the call is looked for in ``calls``, not in the text
    calls: tuple[MessageCall, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    kind: TestKind = "explicit"  # these three as in the example
    near_tool: str = ""
    failed_calls: tuple[FailedCall, ...] = ()

    @property
    def known_tools(self) -> frozenset[str]:
        """Names of the tools that the prompt showed, and of the right one."""
        return frozenset(name for name in (self.tool, *self.candidates) if name)

    @property
    def needs_call(self) -> bool:
        """Whether a call is right; False: the right answer is no call."""
        return bool(self.tool)


class Score(Record):
    """The outcome of one prediction, decided by rules, by the results of both calls, or by a judge.

    Where no call is right (``tool`` is empty), it is ``correct``, ``needless_call``, ``malformed``
    or ``error``.
    """

    schema_version: int = SCHEMA_VERSION
    example_id: str
    setting: str
    tool: str
    outcome: Literal[
        "correct",
        "wrong_arguments",
        "wrong_tool",
        "unknown_tool",
        "malformed",
        "no_call",
        "error",
        "needless_call",
    ]
    num_gold_arguments: int  # 0: the right call has no arguments, or no call is right
    predicted_tool: str = ""  # as written, also where no such tool exists
    predicted_arguments_json: str = ""
    failure_kind: str = ""  # why a reply is malformed or no call, or a needless one unknown
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    detail: str = ""
    undecided: bool = False  # only texts differ, of which no rule can tell what they mean
    # What the right call and this one returned, where both were executed; empty: they were not.
    results: Literal["", "same", "different", "indistinct", "failed"] = ""
    # What the final answer is worth; empty: no call was executed, or the tool failed.
    answer: Literal["", "supported", "unanswered", "unsupported", "missing", "undecided"] = ""
    answer_decided_by: Literal["rules", "judge"] = "rules"
    # The judge's, of an answer that no rule decides; empty: not asked.
    answer_verdict: Literal["", "supported", "unsupported", "unanswered", "unsure"] = ""
    answer_reason: str = ""
    decided_by: Literal["rules", "results", "judge"] = "rules"
    verdict: Literal["", "same", "different", "unsure"] = ""  # the judge's; empty: not asked
    verdict_reason: str = ""
    prompt_tokens: int = 0  # these four as in the prediction
    completion_tokens: int = 0
    final_prompt_tokens: int = 0
    final_completion_tokens: int = 0
    kind: TestKind = "explicit"  # these two as well
    near_tool: str = ""

    @property
    def needs_call(self) -> bool:
        """Whether a call is right; False: the right answer is no call."""
        return bool(self.tool)

    @property
    def in_headline(self) -> bool:
        """Whether it counts in the figures over all tools: its request says the call in full."""
        return bool(self.tool) and self.kind == "explicit"

    @property
    def fits_no_tool(self) -> bool:
        """Whether its request, general or a near miss, is one that no tool fits."""
        return not self.tool and self.kind != "missing_argument"
