"""The estimate beside what a real exploration with the scripted teacher comes to."""

import json

import pytest
from teacher_runs import PROMPTS, ask, builtin_specs, executor, function_of

from ste_ray.core.effects import AskModel
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.exploring.estimate import estimate
from ste_ray.core.exploring.lengths import measure
from ste_ray.core.exploring.memory import remember

EPISODES, TRIALS = 5, 4


@pytest.fixture(scope="module")
def explored():
    """Five tools, what was asked of the teacher, and all answers."""
    specs = builtin_specs()[::4][:5]
    execute = executor(specs, {spec.name: function_of(spec) for spec in specs})
    requests, answers = [], []
    for spec in specs:
        episodes = []
        for number in range(EPISODES):
            flow = episode_flow(
                spec,
                PROMPTS,
                TrialSettings(),
                number=number,
                num_trials=TRIALS,
                memory=remember(episodes),
                config_fingerprint="test",
            )
            episodes.append(play(flow, execute, requests, answers))
    return specs, requests, answers


def play(flow, execute, requests, answers):
    answer = None
    while True:
        try:
            request = flow.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(request, AskModel):
            answer = ask(request, seed=3)
            requests.append(request)
        else:
            answer = execute(request.tool, json.loads(request.arguments_json))
        answers.append(answer)


@pytest.mark.parametrize(("source", "tolerance"), [("teacher", 0.2), ("recorded", 0.1)])
def test_the_expected_figures_are_near_those_of_a_real_exploration(explored, source, tolerance):
    specs, requests, answers = explored
    assert len(specs) == 5
    lengths = {}
    if source == "recorded":  # by an attempt that was cut off half way
        recorded = measure(answers[: len(answers) // 2], TrialSettings().observation_chars)
        lengths = {"short": recorded.short, "expected": recorded.expected}
    found = estimate(
        specs, PROMPTS, TrialSettings(), num_episodes=EPISODES, num_trials=TRIALS, **lengths
    )
    prompt = sum(len(message.content) for one in requests for message in one.messages) / 4
    assert found.expected.prompt_tokens == pytest.approx(prompt, rel=tolerance)
    assert found.expected.calls == pytest.approx(len(requests), rel=tolerance)
    assert found.low.prompt_tokens < prompt < found.high.prompt_tokens
