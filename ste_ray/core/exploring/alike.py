"""Whether most trials of an exploration end alike and to no use, as where replies are cut too soon.

A trial that fails is data. Where nearly all fail for one cause that lies in the endpoint or in its
settings, none of them teaches anything, and going on only costs money. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ste_ray.core.exploring.context import NO_ANSWER
from ste_ray.core.exploring.native_turns import CALL_IN_TEXT, LOST_CALL
from ste_ray.core.records import Trial

Cause = Literal[
    "length",
    "reasoning",
    "content_filter",
    "context_overflow",
    "refused",
    "failed",
    "no_query",
    "call_in_text",
    "format",
    "no_verdict",
]
_CUT_OFF: tuple[Cause, ...] = ("content_filter", "context_overflow", "refused", "failed")
_WHAT: dict[Cause, str] = {
    "length": "a reply was cut at explore.max_tokens before any answer",
    "reasoning": "a reply ended within its reasoning, before any answer",
    "content_filter": "a reply was withheld by the endpoint's content filter",
    "context_overflow": "the request was too long for the model",
    "refused": "the endpoint refused the request without saying what it minds",
    "failed": "the endpoint did not answer the request",
    "no_query": "the model imagined no request",
    "call_in_text": "calls came as text, not through the endpoint's tool calling",
    "format": "no reply was in the format that is asked for",
    "no_verdict": "the reflection began with neither yes nor no",
}
_REMEDY: dict[Cause, str] = {
    "length": "raise explore.max_tokens (models that reason need thousands of tokens), or turn "
    "the reasoning off in llm.explorer.sampling",
    "reasoning": "see that the endpoint does not look for stop sequences in the reasoning, or turn "
    "it off in llm.explorer.sampling",
    "content_filter": "use another model, or an endpoint without that filter",
    "context_overflow": "use a model with a longer context, or lower explore.observation_chars and "
    "explore.trials_per_episode",
    "refused": "look at the endpoint's own log, and check llm.model and llm.sampling",
    "failed": "look at the endpoint's own log",
    "no_query": "look at query_text in the records, or use another model",
    "call_in_text": "start the server with its parser of this model's tool calls, use another "
    "model, or have calls written as text (explore.protocol=text)",
    "format": "look at reply_text in the records, or use a model that follows instructions",
    "no_verdict": "look at reflection_text in the records, or use a model that follows "
    "instructions",
}
_MIN_TRIALS = 20
_MIN_TRIALS_OF_A_SMALL_RUN = 4
MOST = 0.5  # from this share on it is said


def cause_of(trial: Trial) -> Cause | None:
    """Return why a trial is of no use, where its replies are the cause; None: it is, or others are.

    What tools answer is no cause, nor is a trial that took calls and came to no end.
    """
    kinds: set[str] = {fault.kind for fault in trial.faults}
    if trial.outcome == "cut_off":
        return next((cause for cause in _CUT_OFF if cause == trial.outcome_detail), "failed")
    if trial.outcome == "no_query":
        return _unanswered(trial, kinds) or "no_query"
    if trial.outcome == "out_of_turns":
        if any(turn.kind != "parse_failure" for turn in trial.turns):
            return None
        unanswered = all(turn.failure_kind == NO_ANSWER for turn in trial.turns)
        if unanswered and (cause := _unanswered(trial, kinds)):
            return cause
        return "call_in_text" if _lost_all_calls(trial) else "format"
    if trial.outcome == "finished" and trial.solved != "yes" and _lost_all_calls(trial):
        return "call_in_text"
    if trial.outcome == "finished" and trial.solved == "unparsable":
        cut_off = next((cause for cause in _CUT_OFF if cause in kinds), None)
        empty = not trial.reflection_text.strip()
        return cut_off or (_unanswered(trial, kinds) if empty else None) or "no_verdict"
    return None


def _lost_all_calls(trial: Trial) -> bool:
    """Whether there were calls, and none came as one."""
    kinds = {turn.failure_kind for turn in trial.turns if turn.kind != "final_answer"}
    return bool(kinds) and kinds <= {CALL_IN_TEXT, LOST_CALL}


def _unanswered(trial: Trial, kinds: set[str]) -> Cause | None:
    if "length" in kinds:
        return "length"
    return "reasoning" if trial.replies_reasoned else None


@dataclass(frozen=True)
class Alike:
    """The cause that most trials of no use share.

    Attributes:
        cause: of these trials.
        count: how many they are.
        trials: how many trials have ended in all.
        tools: of how many tools they are, at least; no more than two are told apart.
    """

    cause: Cause
    count: int
    trials: int
    tools: int

    @property
    def share(self) -> float:
        """Of all trials."""
        return self.count / self.trials

    def __str__(self) -> str:
        """What is said of it, with what to do."""
        return (
            f"{self.count} of {self.trials} trials ended alike ({self.share:.0%}): "
            f"{_WHAT[self.cause]}; {_REMEDY[self.cause]}"
        )


class Endings:
    """Tallies the causes of trials as they end.

    Args:
        num_tools: of the run.
        num_trials: of the run, if none ends its episode.
    """

    def __init__(self, num_tools: int, num_trials: int) -> None:
        self._num_tools = num_tools
        self._min_trials = min(_MIN_TRIALS, max(_MIN_TRIALS_OF_A_SMALL_RUN, num_trials // 2))
        self._num_trials = 0
        self._counts: Counter[Cause] = Counter()
        self._tools: dict[Cause, set[str]] = {}

    def add(self, tool: str, causes: Iterable[Cause | None]) -> None:
        """Take the causes of a tool's trials; None: of a trial that is of use, or failed apart."""
        for cause in causes:
            self._num_trials += 1
            if cause is not None:
                self._counts[cause] += 1
                tools = self._tools.setdefault(cause, set())
                if len(tools) < 2:  # two are as good as many: there may be very many
                    tools.add(tool)

    def alike(self) -> Alike | None:
        """Return what most trials ended by; None: they differ, or are too few to tell."""
        if self._num_trials < self._min_trials or not self._counts:
            return None
        cause, count = max(self._counts.items(), key=lambda item: (item[1], item[0]))
        found = Alike(cause, count, self._num_trials, len(self._tools[cause]))
        # One odd tool among several says nothing about the others.
        enough = found.tools >= min(2, self._num_tools)
        return found if found.share >= MOST and enough else None
