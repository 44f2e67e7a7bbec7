"""What an exploration will use, estimated before it starts: calls and tokens.

The conversation and the long-term memory grow as they do in ``exploring.trial`` and
``exploring.episode``, from the real prompts and tool descriptions; only the lengths of replies and
observations are guessed, from recorded answers or else from ``TEACHER_LENGTHS``. Four characters
count as a token; tools and native calls count by their JSON.
Nothing is added for requests that are repeated, and nothing subtracted for a prompt's cached part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from statistics import fmean

from ste_ray.core.coverage.findings import MAX_SUGGESTED
from ste_ray.core.coverage.planning import Rules
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.lengths import (
    CHARS_PER_TOKEN,
    TEACHER_LENGTHS,
    TEACHER_SHORT_LENGTHS,
    Lengths,
    capped,
)
from ste_ray.core.exploring.memory import (
    MAX_BRANCH_CHARS,
    MemoryEntry,
    render_memory,
    render_unvisited,
)
from ste_ray.core.limits.budget import Bounds
from ste_ray.core.prompts import PromptSet, describe_tool, offered_tool
from ste_ray.core.records import Message, MessageCall
from ste_ray.core.replies.chat_form import chat_messages, chat_tool, num_characters
from ste_ray.core.texts.cutting import cut_text
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec

_OBSERVATION = "Observation: "
_BRANCH_CHARS = 30  # of the name of a branch, as expected


@dataclass(frozen=True)
class Usage:
    """What is used: requests to the model, and tokens."""

    calls: float
    prompt_tokens: float
    completion_tokens: float

    @property
    def tokens(self) -> float:
        """Of prompts and completions together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """Return the usage of both."""
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def times(self, factor: float) -> Usage:
        """Return the usage of ``factor`` times as much work."""
        return Usage(
            self.calls * factor, self.prompt_tokens * factor, self.completion_tokens * factor
        )


@dataclass(frozen=True)
class Estimate:
    """The usage of a whole exploration: at least, as expected, and at most."""

    low: Usage
    expected: Usage
    high: Usage


def estimate(
    specs: Sequence[ToolSpec],
    prompts: PromptSet,
    settings: TrialSettings,
    *,
    num_episodes: int,
    num_trials: int,
    parallel_episodes: int = 1,
    rules: Rules | None = None,
    suggests: bool = False,
    num_earlier: float = 0.0,
    short: Lengths = TEACHER_SHORT_LENGTHS,
    expected: Lengths = TEACHER_LENGTHS,
) -> Estimate:
    """Estimate the exploration of ``specs``, of which there is at least one.

    Args:
        specs: the tools.
        prompts: the prompt templates.
        settings: how trials are run.
        num_episodes: for each tool.
        num_trials: in each episode.
        parallel_episodes: of one tool; the memory misses those that are still running.
        rules: of the adaptive plan; None: each tool gets as many episodes.
        suggests: whether prompts say what is not visited.
        num_earlier: requests that each episode remembers of a run before, in the mean of the tools.
        short: lengths for the estimate "at least".
        expected: lengths for the one in between. "At most" has all turns and ``max_tokens``.
    """
    # What is used grows linearly with the lengths of name and description, so the tool with the
    # mean lengths stands for all.
    name = fmean(len(spec.name) for spec in specs)
    description = fmean(len(describe_tool(spec)) for spec in specs)
    offer = fmean(_offer(spec, settings) for spec in specs)
    longest = _longest(settings)
    texts = _texts(prompts, settings, name, description, offer)
    usages = []
    for lengths, branch_chars, shares in zip(
        (capped(short, capped(expected, longest)), capped(expected, longest), longest),
        (1, _BRANCH_CHARS, MAX_BRANCH_CHARS),
        _shares(num_episodes, rules),
        strict=True,
    ):
        shown = ["x" * branch_chars] * MAX_SUGGESTED if suggests else []
        told = replace(texts, unvisited=len(render_unvisited(shown, prompts)))
        walks = [
            _Walk(told, lengths, settings, parallel_episodes, num_earlier)
            .tool(number, num_trials)
            .times(share)
            for number, share in shares.items()
        ]
        usages.append(sum(walks, Usage(0, 0, 0)).times(len(specs)))
    return Estimate(*usages)


def _shares(num_episodes: int, rules: Rules | None) -> tuple[dict[int, float], ...]:
    """Return the shares of tools by their number of episodes: at least, as expected, at most.

    An adaptive plan may close all tools early. What it uses most is where it gives some tools all
    that they may have: prompts grow with what is remembered.
    """
    even = {num_episodes: 1.0}
    if rules is None or rules.least == num_episodes:
        return even, even, even
    share = (num_episodes - rules.least) / (rules.most - rules.least)
    return {rules.least: 1.0}, even, {rules.most: share, rules.least: 1 - share}


def affordable_tools(bounds: Bounds, total: Usage, usd: float | None, num_tools: int) -> int:
    """Return for how many of ``num_tools`` tools the bounds last, if each uses the same."""
    pairs = (
        (bounds.max_calls, total.calls),
        (bounds.max_tokens, total.tokens),
        (bounds.max_usd, usd),
    )
    shares = [bound / used for bound, used in pairs if bound is not None and used]
    return floor(num_tools * min([1.0, *shares]) + 1e-9)


def minimum_seconds(
    total: Usage, requests_per_minute: float | None, tokens_per_minute: float | None
) -> float | None:
    """Return how long the rate limits alone make it take; None without any."""
    pairs = ((total.calls, requests_per_minute), (total.tokens, tokens_per_minute))
    minutes = [used / limit for used, limit in pairs if limit is not None]
    return 60 * max(minutes) if minutes else None


def _longest(settings: TrialSettings) -> Lengths:
    reply = settings.max_tokens * CHARS_PER_TOKEN
    mark = len(cut_text("x" * (10 * settings.observation_chars), settings.observation_chars))
    return Lengths(reply, reply, reply, reply, mark, settings.max_turns)


@dataclass(frozen=True)
class _Texts:
    """Characters of what is sent besides the replies."""

    first: float  # the query prompt that describes the tool
    following: float
    answer: float
    reflect: float
    memory: float  # around the entries of the long-term memory
    withheld: float
    around: float  # a call and its observation
    offer: float  # the tool, in requests that let it be called, or that show calls
    unvisited: float = 0.0  # branches that a query prompt suggests


def _offer(spec: ToolSpec, settings: TrialSettings) -> int:
    if settings.protocol == "text":
        return 0
    return num_characters((), [chat_tool(offered_tool(spec), safe_name(spec.name))])


def _frame() -> int:
    """Return the characters around a native call and its result."""
    call = MessageCall(id="call00001", name="", arguments_text="{}")
    calling = Message(role="assistant", content="", tool_calls=(call,))
    result = Message(role="tool", content="", tool_call_id=call.id)
    return num_characters(chat_messages([calling, result])) - len(call.arguments_text)


def _texts(
    prompts: PromptSet, settings: TrialSettings, name: float, description: float, offer: float
) -> _Texts:
    def rendered(prompt: str, **values: str) -> int:
        return len(prompts.render(prompt, **values))

    def grown(prompt: str, key: str, length: float, **values: str) -> float:
        empty = rendered(prompt, **{key: ""}, **values)
        return empty + length * (rendered(prompt, **{key: "x"}, **values) - empty)

    turns = str(settings.max_turns)
    block = render_memory([MemoryEntry(query="", solved="not_asked")], prompts)
    return _Texts(
        first=grown("explore_query_first", "tools", description, long_term_memory=""),
        following=rendered("explore_query_next", long_term_memory=""),
        answer=rendered("explore_answer_native", max_turns=turns)
        if settings.protocol == "native"
        else grown("explore_answer", "tool_names", name, max_turns=turns),
        reflect=rendered("explore_reflect"),
        memory=len(block) - len("- "),
        withheld=rendered("observation_withheld"),
        around=_frame() if settings.protocol == "native" else len(_OBSERVATION),
        offer=offer,
    )


class _Walk:
    """Goes through the trials of one tool and sums up what is sent and received."""

    def __init__(
        self,
        texts: _Texts,
        lengths: Lengths,
        settings: TrialSettings,
        parallel_episodes: int,
        num_earlier: float,
    ) -> None:
        self._texts = texts
        self._lengths = lengths
        self._settings = settings
        self._parallel = parallel_episodes
        self._earlier = num_earlier
        observation = lengths.observation if settings.execution_feedback else texts.withheld
        self._turn = lengths.action + texts.around + observation
        verdict = len(" (solved)") if settings.reflection else 0
        self._entry = len("- \n") + lengths.query + verdict
        self._prompt_chars = 0.0

    def tool(self, num_episodes: int, num_trials: int) -> Usage:
        """Return what one tool uses."""
        for episode in range(num_episodes):
            own = max(0, episode - self._parallel + 1) * num_trials
            remembered = self._earlier + own
            conversation = 0.0
            for trial in range(num_trials):
                if not self._settings.short_term_memory:
                    conversation = 0.0
                conversation = self._trial(conversation, remembered + trial)
        trials = num_episodes * num_trials
        return Usage(
            trials * self._calls(), self._prompt_chars / CHARS_PER_TOKEN, trials * self._replies()
        )

    def _trial(self, conversation: float, remembered: float) -> float:
        """Count the prompts of a trial; return the characters of the conversation behind it."""
        texts, lengths = self._texts, self._lengths
        # A query prompt tells the tool where it shows the calls of earlier trials.
        self._prompt_chars += texts.offer if conversation else 0
        conversation += texts.following if conversation else texts.first
        self._prompt_chars += conversation + self._memory(remembered) + texts.unvisited
        conversation += lengths.query + texts.answer
        self._prompt_chars += self._turns(conversation)
        requests = lengths.actions_per_trial + 1 + self._settings.reflection
        self._prompt_chars += requests * texts.offer
        conversation += lengths.actions_per_trial * self._turn
        self._prompt_chars += conversation
        conversation += lengths.final
        if self._settings.reflection:
            conversation += texts.reflect
            self._prompt_chars += conversation
            conversation += lengths.reflection
        return conversation

    def _memory(self, num_entries: float) -> float:
        if not self._settings.long_term_memory or not num_entries:
            return 0.0
        return self._texts.memory + num_entries * self._entry - len("\n")

    def _turns(self, conversation: float) -> float:
        """The prompts of all actions; a broken number is a mixture of the whole ones around it."""
        whole = floor(self._lengths.actions_per_trial)
        rest = self._lengths.actions_per_trial - whole
        sums = [num * conversation + self._turn * num * (num - 1) / 2 for num in (whole, whole + 1)]
        return (1 - rest) * sums[0] + rest * sums[1]

    def _calls(self) -> float:
        return 2 + self._lengths.actions_per_trial + self._settings.reflection

    def _replies(self) -> float:
        """Completion tokens of a trial."""
        lengths = self._lengths
        replies = [
            (1.0, lengths.query),
            (lengths.actions_per_trial, lengths.action),
            (1.0, lengths.final),
            (float(self._settings.reflection), lengths.reflection),
        ]
        most = self._settings.max_tokens
        return sum(
            num * min(most, chars / CHARS_PER_TOKEN * lengths.hidden) for num, chars in replies
        )
