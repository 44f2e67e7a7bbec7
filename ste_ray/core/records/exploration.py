"""What exploration stores: episodes, their trials, and the turns of each."""

from __future__ import annotations

from typing import Literal

from ste_ray.core.records.base import SCHEMA_VERSION, Record
from ste_ray.core.records.messages import Message
from ste_ray.core.records.replies import Fault, Oddity

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
    unvisited_shown: tuple[str, ...] = ()  # branches of the schema that were suggested
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
