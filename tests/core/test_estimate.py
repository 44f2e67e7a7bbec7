import itertools
import json
import time

import pytest
from flow_examples import PROMPTS, SPEC

from ste_ray.config import load_config
from ste_ray.core.effects import AskModel, CallTool, ModelReply, ToolResult
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.exploring.estimate import Usage, affordable_tools, estimate, minimum_seconds
from ste_ray.core.exploring.lengths import TEACHER_LENGTHS, Lengths, measure
from ste_ray.core.exploring.memory import remember
from ste_ray.core.limits.budget import Bounds
from ste_ray.core.records import MessageCall
from ste_ray.core.replies.chat_form import chat_messages, chat_tool, num_characters
from ste_ray.core.replies.stop_texts import THOUGHT_STOP
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.stages.base import StageContext, load_prompts
from ste_ray.stages.explore.estimate import as_lines, estimate_explore

SHIPPED = load_prompts()
QUERY = "What is one plus two?"
ACTION = 'Thought: try\nAction: add\nAction Input: {"n": 1}'
FINAL = "Thought: I now know the answer\nFinal Answer: It is 3."
REFLECTION = "Yes. It was solved."
OBSERVATION = "seen 1"
EXACT = Lengths(
    len(QUERY), len(ACTION), len(FINAL), len(REFLECTION), len(OBSERVATION), actions_per_trial=2
)


def answer(request, place):
    """The reply that ``EXACT`` describes: a query, two calls, a final answer, a reflection."""
    if isinstance(request, CallTool):
        return ToolResult(status="ok", text=OBSERVATION)
    if request.sampling.stop == THOUGHT_STOP:
        place[0] = 0
        text = QUERY
    elif request.sampling.stop:
        place[0] += 1
        text = ACTION if place[0] <= 2 else FINAL
    else:
        text = REFLECTION
    return ModelReply(text=text)


def explore(spec, prompts, settings, num_episodes, num_trials, parallel=1):
    """Really explore; return how many requests were made and the characters of their prompts."""
    requests, replies, done = [], [], []
    for number in range(num_episodes):
        flow = episode_flow(
            spec,
            prompts,
            settings,
            number=number,
            num_trials=num_trials,
            memory=remember(done[: max(0, number - parallel + 1)]),
            config_fingerprint="config",
        )
        reply, place = None, [0]
        while True:
            try:
                request = flow.send(reply)
            except StopIteration as end:
                done.append(end.value)
                break
            reply = answer(request, place)
            if isinstance(request, AskModel):
                requests.append(request)
                replies.append(reply)
    prompt = sum(len(message.content) for one in requests for message in one.messages)
    return len(requests), prompt / 4, sum(len(reply.text) for reply in replies) / 4


def of_one(spec=SPEC, prompts=PROMPTS, lengths=EXACT, **shape):
    settings = TrialSettings.model_validate(shape.pop("settings", {}))
    counts = {"num_episodes": 3, "num_trials": 4} | shape
    return estimate([spec], prompts, settings, short=lengths, expected=lengths, **counts)


@pytest.mark.parametrize("prompts", [PROMPTS, load_prompts()], ids=["short", "shipped"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"reflection": False},
        {"short_term_memory": False},
        {"long_term_memory": False},
        {"execution_feedback": False},
        {"reflection": False, "short_term_memory": False, "long_term_memory": False},
    ],
    ids=lambda settings: "+".join(settings) or "all",
)
def test_counts_exactly_what_an_exploration_of_such_lengths_asks(prompts, settings):
    settings = TrialSettings.model_validate(settings)
    calls, prompt, completion = explore(SPEC, prompts, settings, 3, 4)
    found = of_one(prompts=prompts, settings=settings.model_dump()).expected
    assert found.calls == calls
    assert found.prompt_tokens == pytest.approx(prompt, rel=1e-12)
    assert found.completion_tokens == pytest.approx(completion, rel=1e-12)


def test_parallel_episodes_see_an_older_memory():
    _, prompt, _ = explore(SPEC, PROMPTS, TrialSettings(), 5, 2, parallel=3)
    found = of_one(num_episodes=5, num_trials=2, parallel_episodes=3).expected
    assert found.prompt_tokens == pytest.approx(prompt, rel=1e-12)


def test_tools_of_different_lengths_add_up():
    other = SPEC.model_copy(update={"name": "a_much_longer_name", "description": "Long. " * 50})
    shape = {"num_episodes": 2, "num_trials": 3, "short": EXACT, "expected": EXACT}
    together = estimate([SPEC, other], PROMPTS, TrialSettings(), **shape).expected
    apart = [estimate([one], PROMPTS, TrialSettings(), **shape).expected for one in (SPEC, other)]
    assert together.prompt_tokens == pytest.approx(sum(one.prompt_tokens for one in apart))
    assert together.calls == sum(one.calls for one in apart)


def test_a_broken_number_of_calls_lies_between_the_whole_ones():
    few, some, many = (
        of_one(lengths=Lengths(20, 30, 40, 10, 50, actions)).expected for actions in (1, 1.5, 2)
    )
    assert some.calls == (few.calls + many.calls) / 2
    assert few.prompt_tokens < some.prompt_tokens < many.prompt_tokens


def test_at_most_is_every_turn_with_replies_of_max_tokens():
    settings = {"max_turns": 3, "max_tokens": 50, "observation_chars": 100}
    high = of_one(settings=settings, num_episodes=1, num_trials=2).high
    assert high.calls == 2 * (1 + 4 + 1)
    assert high.completion_tokens == high.calls * 50


@pytest.mark.parametrize("lengths", [EXACT, Lengths(9e9, 9e9, 9e9, 9e9, 9e9, 99.0, hidden=50)])
def test_low_expected_and_high_are_in_order(lengths):
    found = estimate(
        [SPEC], PROMPTS, TrialSettings(), num_episodes=2, num_trials=2, expected=lengths
    )
    for low, high in itertools.pairwise((found.low, found.expected, found.high)):
        assert low.calls <= high.calls
        assert low.prompt_tokens <= high.prompt_tokens
        assert low.completion_tokens <= high.completion_tokens


def test_reasoning_out_of_sight_counts_as_completion_not_as_prompt():
    seen = of_one()
    hidden = of_one(lengths=Lengths(**{**vars(EXACT), "hidden": 3.0}))
    assert hidden.expected.completion_tokens == pytest.approx(3 * seen.expected.completion_tokens)
    assert hidden.expected.prompt_tokens == seen.expected.prompt_tokens


def test_measures_recorded_answers():
    texts = [QUERY, ACTION, ACTION + "\nObservation: made up\nFinal Answer: no", FINAL, REFLECTION]
    answers = [ModelReply(text=text, prompt_tokens=10, completion_tokens=30) for text in texts]
    answers += [ToolResult(status="ok", text="x" * 10), ToolResult(status="error", text="y" * 500)]
    found = measure(answers, observation_chars=100)
    assert (found.replies, found.prompt_tokens, found.completion_tokens) == (5, 50, 150)
    assert found.expected.query == len(QUERY)
    assert found.expected.action == len(ACTION)  # what was made up is not kept
    assert found.expected.final == len(FINAL)
    assert found.expected.reflection == len(REFLECTION)
    assert 55 < found.expected.observation < 100  # the longer one is shown cut, with a mark
    assert found.expected.actions_per_trial == 2
    assert found.expected.hidden == pytest.approx(150 / (sum(map(len, texts)) / 4))
    assert found.short.observation == 10


def test_lengths_that_nothing_shows_are_the_teachers():
    failed = ModelReply(text="", finish_reason="failed")
    assert measure([failed], 100).expected == TEACHER_LENGTHS
    partly = measure([ModelReply(text=QUERY)], 100).expected
    assert (partly.query, partly.final) == (len(QUERY), TEACHER_LENGTHS.final)


def test_budget_and_rate_limits_of_a_usage():
    usage = Usage(calls=1000, prompt_tokens=90_000, completion_tokens=10_000)
    assert affordable_tools(Bounds(), usage, None, 10) == 10
    assert affordable_tools(Bounds(max_calls=1000), usage, None, 10) == 10
    assert affordable_tools(Bounds(max_calls=999), usage, None, 10) == 9
    assert affordable_tools(Bounds(max_calls=900, max_tokens=45_000), usage, None, 10) == 4
    assert affordable_tools(Bounds(max_usd=1), usage, 5.0, 10) == 2
    assert affordable_tools(Bounds(max_usd=1), usage, 0.0, 10) == 10
    assert minimum_seconds(usage, None, None) is None
    assert minimum_seconds(usage, 100, None) == 600
    assert minimum_seconds(usage, 100, 5_000) == 1200


def context(*overrides):
    config = load_config(overrides=overrides)
    return StageContext(config=config, store=None, progress=print)


def test_the_stage_says_what_price_and_limits_make_of_it():
    found = estimate_explore(
        context("llm.model=gpt-4o-mini", "llm.requests_per_minute=500", "budget.max_calls=2800")
    )
    assert json.loads(json.dumps(found)) == found
    expected = found["expected"]
    usd = (expected["prompt_tokens"] * 0.15 + expected["completion_tokens"] * 0.6) / 1e6
    assert expected["usd"] == pytest.approx(usd, abs=1e-3)
    assert expected["seconds"] == pytest.approx(expected["calls"] * 60 / 500, rel=0.01)
    assert found["trials"] == found["tools"] * 60
    assert found["tools_within_budget"] == 2800 * found["tools"] // expected["calls"]
    text = as_lines(found)
    assert f"enough for about {found['tools_within_budget']} of {found['tools']} tools" in text
    assert f"{expected['prompt_tokens']:,}" in text


def test_the_stage_says_what_it_does_not_know():
    found = estimate_explore(context("llm.explorer.model=mine", "budget.max_usd=1"))
    assert found["expected"]["usd"] is found["expected"]["seconds"] is None
    assert found["tools_within_budget"] is None
    text = as_lines(found)
    assert "llm.prices={mine: {input_usd: 1, output_usd: 2}}" in text
    assert "unknown" in text


def test_the_stage_takes_lengths_from_recorded_answers():
    plain = estimate_explore(context())
    long_replies = [ModelReply(text="Find " * 100, prompt_tokens=7, completion_tokens=125)]
    found = estimate_explore(context(), long_replies)
    assert found["recorded"] == {"replies": 1, "prompt_tokens": 7, "completion_tokens": 125}
    assert found["expected"]["prompt_tokens"] > plain["expected"]["prompt_tokens"]
    assert found["high"] == plain["high"]


def test_says_that_a_budget_per_tool_ends_tools_early():
    assert "per tool" in as_lines(estimate_explore(context("budget.per_tool.max_calls=20")))
    enough = estimate_explore(context("budget.per_tool.max_calls=1000"))
    assert "per tool" not in as_lines(enough)


def test_ten_thousand_tools_take_less_than_three_seconds():
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(8)}}
    specs = [
        ToolSpec(
            name=f"tool_{n}",
            description="Does. " * 20,
            parameters=schema,
            executor={"kind": "python", "target": "m:f"},
        )
        for n in range(10_000)
    ]
    started = time.process_time()
    estimate(specs, load_prompts(), TrialSettings(), num_episodes=15, num_trials=4)
    assert time.process_time() - started < 3


def native_reply(request, place):
    """The native replies of lengths ``EXACT``: what ``answer`` says, with its calls as such."""
    reply = answer(request, place) if not request.tools or request.tool_choice == "none" else None
    if reply is None:
        place[0] += 1
        if place[0] > 2:
            return ModelReply(text=FINAL)
        name, arguments = "add", '{"n": 1}'
        text = ACTION[: len(ACTION) - len(name) - len(arguments)]
        call = MessageCall(id="call00001", name=name, arguments_text=arguments)
        return ModelReply(text=text, calls=(call,))
    return reply


def explore_natively(settings):
    """Really explore natively; return the requests, and their replies and results."""
    requests, answers, done = [], [], []
    for number in range(3):
        flow = episode_flow(
            SPEC,
            SHIPPED,
            settings,
            number=number,
            num_trials=4,
            memory=remember(done),
            config_fingerprint="config",
        )
        reply, place = None, [0]
        while True:
            try:
                request = flow.send(reply)
            except StopIteration as end:
                done.append(end.value)
                break
            is_call = isinstance(request, CallTool)
            reply = answer(request, place) if is_call else native_reply(request, place)
            answers.append(reply)
            if not is_call:
                requests.append(request)
    return requests, answers


@pytest.mark.parametrize("changes", [{}, {"reflection": False}, {"short_term_memory": False}])
def test_tools_and_calls_count_as_prompt_in_the_native_protocol(changes):
    settings = TrialSettings.model_validate({"protocol": "native", **changes})
    requests, answers = explore_natively(settings)
    chars = sum(
        num_characters(
            chat_messages(one.messages),
            [chat_tool(tool, safe_name(tool.name)) for tool in one.tools],
        )
        for one in requests
    )
    found = of_one(prompts=SHIPPED, settings=settings.model_dump()).expected
    assert found.calls == len(requests)
    # Quotes in arguments are escaped, which no length tells.
    assert found.prompt_tokens == pytest.approx(chars / 4, rel=0.01)
    plain = of_one(prompts=SHIPPED, settings=changes).expected
    assert found.prompt_tokens > plain.prompt_tokens
    if not changes:
        recorded = measure(answers, settings.observation_chars, native=True).expected
        assert recorded.actions_per_trial == 2
        assert recorded.action == len(ACTION)
        assert recorded.query == recorded.final == (len(QUERY) + len(FINAL)) / 2
        assert recorded.reflection == len(REFLECTION)


def test_an_adaptive_plan_has_as_many_calls_at_most_and_longer_prompts():
    shape = ("explore.episodes_per_tool=6", "explore.trials_per_episode=4")
    fixed = estimate_explore(context(*shape))
    told = estimate_explore(context(*shape, "explore.plan=adaptive"))
    assert told["high"]["calls"] == fixed["high"]["calls"]
    assert told["expected"]["calls"] == fixed["expected"]["calls"]
    assert told["low"]["calls"] == pytest.approx(fixed["low"]["calls"] / 3, abs=1)
    for case in ("expected", "high"):
        assert told[case]["prompt_tokens"] > fixed[case]["prompt_tokens"]
    silent = estimate_explore(
        context(*shape, "explore.plan=adaptive", "explore.suggest_unvisited=false")
    )
    assert silent["expected"] == fixed["expected"]
    assert fixed["high"]["prompt_tokens"] < silent["high"]["prompt_tokens"]
    assert silent["high"]["prompt_tokens"] < told["high"]["prompt_tokens"]
    assert "2 to 12 episodes a tool, in all at most 6 a tool" in as_lines(told)


def test_the_fixed_plan_and_an_adaptive_one_of_the_least_are_the_same():
    shape = ("explore.episodes_per_tool=2", "explore.suggest_unvisited=false")
    told = estimate_explore(context(*shape, "explore.plan=adaptive"))
    assert told["high"] == estimate_explore(context(*shape))["high"]
