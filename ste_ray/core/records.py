"""The records that stages exchange, stored as Parquet under one run URI.

All are frozen pydantic models. A conversation is stored once an episode; turns point into it by
message index. Raw model text always stands beside what was parsed from it, and outcomes are
literals, never a boolean beside optional keys. JSON of unknown shape (schemas, arguments) is
kept as text, because Arrow would unite the keys of differing objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1

Verdict = Literal["yes", "no", "unparsable"]
TEACHER_MODEL = "scripted-teacher"  # how the script that stands in for a model calls itself
ObservationStatus = Literal[
    "ok",  # the tool answered
    "error",  # the tool answered with an error of its own
    "rejected",  # the arguments do not fit the schema; the tool was not called
    "timeout",  # the tool did not answer in time
    "crashed",  # the tool's process died
    "interrupted",  # the call was begun in an earlier run and may have taken effect
    "withheld",  # ablation: the tool was not called and the result not shown
    "unparsed",  # the reply held no call; the observation says what was wrong
    "not_executed",  # the call came when the trial's turns were used up, and was told so
    "none",  # the reply ended the trial, there is no observation
]
# Of these the tool was really called, or what stands in for it; "interrupted" is not known.
MADE_CALLS: frozenset[ObservationStatus] = frozenset({"ok", "error", "timeout", "crashed"})
ObservationSource = Literal[
    "called",  # the tool itself answered
    "recorded",  # the tool itself answered, in an earlier run
    "simulated",  # a language model answered in the tool's place, now or in an earlier run
]


# What is stored never holds itself, and looking out for that costs a fifth of the time.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False
)


def canonical_json(value: Any) -> str:
    """Return ``value`` as compact JSON with sorted keys, the form that is hashed and compared."""
    return _CANONICAL.encode(value)


def fingerprint(*parts: Any) -> str:
    """Return a 16-digit hexadecimal SHA-256 of the canonical JSON of ``parts``."""
    return hashlib.sha256(canonical_json(parts).encode(errors="surrogatepass")).hexdigest()[:16]


def text_fingerprint(*texts: str) -> str:
    """Return a 16-digit hexadecimal SHA-256 of texts, faster than ``fingerprint``."""
    data = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(data.encode(errors="surrogatepass")).hexdigest()[:16]


class Record(BaseModel):
    """Base of all records: frozen, and refusing unknown fields.

    Attributes:
        old_names: under which earlier versions stored fields, and how they are called now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    old_names: ClassVar[Mapping[str, str]] = {}


class MessageCall(Record):
    """A call of a tool in an assistant's message, as native tool calling has it.

    ``name`` is the tool's true name where there is such a tool, else as the model wrote it.
    ``arguments_text`` is what was written, whether it is JSON or not. Each ``id`` is there, and
    once in a conversation.
    """

    id: str
    name: str
    arguments_text: str


class Message(Record):
    """One message of a conversation.

    A message of the role ``tool`` is the result of the call ``tool_call_id``. ``reasoning`` is
    there only where the model is to get its reasoning back.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[MessageCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""

    @classmethod
    def of_row(cls, fields: Mapping[str, Any]) -> Message:
        """Return the message of a table's row, whose fields are not checked again."""
        calls = tuple(MessageCall.model_construct(**one) for one in fields.get("tool_calls") or ())
        return cls.model_construct(**{**fields, "tool_calls": calls})

    @cached_property
    def digest(self) -> str:
        """Identity of a message; kept, since a conversation is hashed at each request."""
        text = f"{self.role}\n{self.content}"
        if self.tool_calls or self.tool_call_id or self.reasoning:
            calls = [[one.id, one.name, one.arguments_text] for one in self.tool_calls]
            text += "\0" + canonical_json([calls, self.tool_call_id, self.reasoning])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class Fault(Record):
    """Something that went wrong with a reply of a model, also where a repetition mended it."""

    kind: Literal[
        "rate_limited",  # 429
        "server_error",  # 5xx and other statuses that may pass
        "timeout",  # no reply in time
        "connection",  # refused, reset or cut off
        "bad_reply",  # 200 without a usable completion
        "length",  # the reply was cut at max_tokens
        "content_filter",
        "context_overflow",
        "refused",  # for what the request holds, without a word that names what
        "failed",  # given up after all attempts
    ]
    detail: str = ""
    reply_index: int = -1  # the reply it concerns, in the episode's messages; -1: not placed yet


OddityKind = Literal[
    "arguments_object",  # an object in the place of a JSON text
    "arguments_empty",  # no arguments at all, read as {}
    "id_missing",  # a call without an id, or with one that is no text: it got one of ours
    "id_repeated",  # the id of an earlier call of the conversation: it got one of ours
    "name_missing",
    "call_shape",  # calls in another shape than OpenAI's; what is no call at all has no name
    "function_call",  # the field of before there was tool_calls
    "finish_without_calls",  # finish_reason says there are calls, and there are none
    "calls_without_finish",  # there are calls, and finish_reason says the reply just ended
    "cut_call",  # the reply was cut, so that its last call may not be whole
    "uncalled_for",  # calls although tool_choice asked for none
    "not_called",  # no call although tool_choice required one
    "call_in_text",  # what seems to be a call, written into the text
    "unreadable_call",  # of a local model, begun in the form of its template and broken
]


class Oddity(Record):
    """Something unusual about the calls of a reply, and about how the endpoint told them."""

    kind: OddityKind
    detail: str = ""
    # The reply it concerns, in the episode's messages, or among the replies of a prediction (0, 1);
    # -1: not placed yet.
    reply_index: int = -1


class Turn(Record):
    """What a reply of the explorer held within a trial, how it was read, and what came back.

    In the text protocol a reply is a turn. In the native one each call of a reply is: all of them
    have its ``reply_index``, and the first alone has its text and reasoning.
    """

    reply_index: int  # index of the reply in the episode's messages
    reply_text: str  # without what the model reasoned before it
    kind: Literal["tool_call", "final_answer", "parse_failure", "cut_off"]
    thought: str = ""
    tool: str = ""
    arguments_text: str = ""
    arguments_json: str = ""
    final_answer: str = ""
    failure_kind: str = ""
    failure_message: str = ""
    observation: str = ""
    observation_status: ObservationStatus = "none"
    observation_source: ObservationSource = "called"
    observation_chars: int = 0  # length before the cut
    seconds: float = 0.0  # time of the tool call
    reasoning: str = ""  # what the model wrote before its reply
    call_id: str = ""  # of a native call


class Trial(Record):
    """One imagined query, the turns that tried to answer it, and the explorer's reflection."""

    schema_version: int = SCHEMA_VERSION
    trial_id: str
    episode_id: str
    tool: str
    episode_number: int
    trial_number: int
    query: str
    query_text: str  # the raw reply the query was taken from, without its reasoning
    memory_shown: int  # how many earlier queries the long-term memory showed
    memory_episodes: int = 0  # they are those of the tool's first so many episodes, and its own
    turns: tuple[Turn, ...]
    final_answer: str
    outcome: Literal["finished", "out_of_turns", "no_query", "cut_off", "interrupted"]
    outcome_detail: str = ""
    solved: Literal["yes", "no", "unparsable", "not_asked"]
    reflection_text: str = ""
    faults: tuple[Fault, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    query_reasoning: str = ""
    reflection_reasoning: str = ""
    replies: int = 0
    replies_reasoned: int = 0  # before them the model reasoned, in sight or not
    reasoning_tokens: int = 0  # of the completion tokens; see ``ModelReply``
    oddities: tuple[Oddity, ...] = ()


class Episode(Record):
    """Several trials in one conversation (the short-term memory)."""

    schema_version: int = SCHEMA_VERSION
    episode_id: str
    tool: str
    tool_fingerprint: str
    episode_number: int
    messages: tuple[Message, ...]
    trials: tuple[Trial, ...]
    models: tuple[str, ...] = ()  # model names as the endpoint reported them


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
    """

    schema_version: int = SCHEMA_VERSION
    example_id: str
    group_id: str  # a query and all its paraphrases share one
    trial_id: str
    tool: str
    query: str
    origin: Literal["explored", "paraphrase", "general"]
    arguments_json: str
    observation: str
    final_answer: str
    split: Literal["train", "validation", "test"]
    accepted_json: str = ""  # object: argument -> list of further right values; empty: none

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
    kind: Literal["tool_call", "final_answer", "general", "no_call"]
    split: Literal["train", "validation"]
    dialog_history: tuple[Message, ...]
    response: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """The dialog with its response, as chat messages."""
        return (*self.dialog_history, Message(role="assistant", content=self.response))


class LedgerEntry(Record):
    """Whether one imagined or paraphrased query is used, and the step and reason if it is not."""

    old_names = {"fate": "status"}

    schema_version: int = SCHEMA_VERSION
    query_id: str
    trial_id: str
    tool: str
    query: str
    origin: Literal["explored", "paraphrase"]
    status: Literal["kept", "dropped"]
    step: str
    reason: str


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
    prompt_tokens: int = 0
    completion_tokens: int = 0
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
    reasoning_tokens: int = 0  # of the completion tokens; see ``ModelReply``
    native: bool = False  # whether the call is looked for in ``calls``, not in the text
    calls: tuple[MessageCall, ...] = ()
    oddities: tuple[Oddity, ...] = ()

    @property
    def needs_call(self) -> bool:
        """Whether a call is right; False: the right answer is no call."""
        return bool(self.tool)


class Score(Record):
    """The outcome of one prediction, decided by rules, or by a judge where no rule can tell.

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
    decided_by: Literal["rules", "judge"] = "rules"
    verdict: Literal["", "same", "different", "unsure"] = ""  # the judge's; empty: not asked
    verdict_reason: str = ""

    @property
    def needs_call(self) -> bool:
        """Whether a call is right; False: the right answer is no call."""
        return bool(self.tool)
