"""What trials become: judgments, examples, training rows, and the ledger of what is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from ste_ray.core.records.base import SCHEMA_VERSION, Record
from ste_ray.core.records.failed_calls import FailedCall
from ste_ray.core.records.kinds import RowKind, TestKind
from ste_ray.core.records.messages import Message

Verdict = Literal["yes", "no", "unparsable"]


class Judgment(Record):
    """The judge's three verdicts on a trial, each with its reason; it passes with three yes."""

    schema_version: int = SCHEMA_VERSION
    trial_id: str
    informative: Verdict
    faithful: Verdict
    appropriate: Verdict
    informative_reason: str = ""
    faithful_reason: str = ""
    appropriate_reason: str = ""
    num_replies: int = 1  # 2: the first one was unparsable and asked again
    reply_text: str = ""  # of the last reply, without its reasoning
    model: str = ""
    reasoning: str = ""  # of the last reply
    reasoning_tokens: int = 0  # of all replies

    @property
    def passed(self) -> bool:
        """True when all three verdicts are yes."""
        return self.informative == self.faithful == self.appropriate == "yes"


class Example(Record):
    """A query with the call that answers it: the unit that is split, trained on and tested.

    A test without ``tool`` asks for restraint: no call is right, and there are no arguments.

    Attributes:
        near_tool: the tool that a wrong call is likely to be of: the other one of a confusable
            pair, the one that a request without an argument means, or the one that nearly fits.
        missing: the argument that a request does not tell.
        failed_calls: calls that the right one mended: of a training example they are what its
            correction is trained after, of a test they stand in the prompt.
    """

    schema_version: int = SCHEMA_VERSION
    example_id: str
    group_id: str  # a query and all its paraphrases share one
    trial_id: str
    tool: str
    query: str
    origin: Literal["explored", "paraphrase", "general", "generated"]
    arguments_json: str
    observation: str
    final_answer: str
    split: Literal["train", "validation", "test"]
    accepted_json: str = ""  # object: argument -> list of further right values; empty: none
    kind: TestKind = "explicit"
    near_tool: str = ""
    missing: str = ""
    failed_calls: tuple[FailedCall, ...] = ()

    @property
    def needs_call(self) -> bool:
        """Whether a call is right; False: the right answer is no call."""
        return bool(self.tool)


class TrainRow(Record):
    """A training row: a dialog and the response whose tokens alone carry loss."""

    schema_version: int = SCHEMA_VERSION
    row_id: str
    example_id: str  # empty: of no example
    tool: str  # empty: general data; for a no-call row the tool that is not there, if any
    kind: RowKind
    split: Literal["train", "validation"]
    dialog_history: tuple[Message, ...]
    response: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """The dialog with its response, as chat messages."""
        return (*self.dialog_history, Message(role="assistant", content=self.response))


class MadeTest(Record):
    """A test of another kind than explicit that was made, and why it was dropped, if it was.

    Attributes:
        test_id: of the example that it becomes.
        kind: of the test.
        about: the tool that it was made for.
        near_tool: as in the example.
        missing: likewise.
        trial_id: of the request that it was made of; empty: of none.
        query: its request.
        status: whether it is used.
        step: that dropped it: select, execute, write, check or train; of a kept one the last.
        reason: why it was dropped.
        judgement: the judge's reply.
    """

    schema_version: int = SCHEMA_VERSION
    test_id: str
    kind: TestKind
    about: str
    near_tool: str
    missing: str
    trial_id: str
    query: str
    status: Literal["kept", "dropped"]
    step: str
    reason: str
    judgement: str = ""


class LedgerEntry(Record):
    """Whether one imagined or paraphrased query is used, and the step and reason if it is not."""

    old_names: ClassVar[Mapping[str, str]] = {"fate": "status"}

    schema_version: int = SCHEMA_VERSION
    query_id: str
    trial_id: str
    tool: str
    query: str
    origin: Literal["explored", "paraphrase"]
    status: Literal["kept", "dropped"]
    step: str
    reason: str
