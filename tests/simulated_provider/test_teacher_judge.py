"""The judge says no where a reader would."""

from __future__ import annotations

import pytest
from teacher_runs import PROMPTS, play

from ste_ray.core.preparing.judging import judge_flow
from ste_ray.core.records import Judgment, Trial, Turn
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.simulated_provider.teacher.judging import judge

SPEC = ToolSpec(
    name="calendar",
    description="Converts a date to another calendar.",
    parameters={
        "type": "object",
        "properties": {
            "cmd": {"type": "string", "description": "calendar to use"},
            "date": {"type": "string", "description": "date to convert, YYYY-MM-DD"},
        },
        "required": ["cmd", "date"],
    },
    executor={"kind": "python", "target": "none:none"},
)
QUERY = "Turn 14 March 2031 into the Islamic calendar."
GOOD = '{"cmd":"isl","date":"2031-03-14"}'


def verdict(arguments: str, observation: str, answer: str) -> Judgment:
    call = Turn(
        reply_index=0,
        reply_text="",
        kind="tool_call",
        tool="calendar",
        arguments_json=arguments,
        observation=observation,
    )
    trial = Trial(
        trial_id="t",
        episode_id="e",
        tool="calendar",
        episode_number=0,
        trial_number=0,
        query=QUERY,
        query_text=QUERY,
        memory_shown=0,
        turns=(call,),
        final_answer=answer,
        outcome="finished",
        solved="yes",
    )
    result = play(judge_flow(trial, call, SPEC, PROMPTS, 0.0), None, 0)  # type: ignore[arg-type]
    assert isinstance(result, Judgment)
    return result


def test_a_good_example_passes() -> None:
    assert verdict(GOOD, "19 Dhu al-Qadah 1452", "It is 19 Dhu al-Qadah 1452.").passed


@pytest.mark.parametrize(
    ("arguments", "observation", "answer", "fault"),
    [
        (GOOD, "Invalid input", "I could not find that out.", "informative"),
        (GOOD, "Invalid input", "It is 19 Muharram 1452.", "faithful"),
        (GOOD, "19 Muharram 1452", "It is 20 Muharram 1452.", "faithful"),
        (GOOD, "The call was accepted. Its result is not shown.", "It is 1452.", "faithful"),
        ('{"cmd":"heb","date":"2031-03-14"}', "5 Nisan 5791", "It is 5 Nisan 5791.", "appropriate"),
        (
            '{"cmd":"isl","date":"2031-03-15"}',
            "20 Safar 1452",
            "It is 20 Safar 1452.",
            "appropriate",
        ),
    ],
)
def test_faults_are_found(arguments: str, observation: str, answer: str, fault: str) -> None:
    assert getattr(verdict(arguments, observation, answer), fault) == "no"


def test_a_call_about_another_zone_is_not_appropriate() -> None:
    prompt = (
        "Tool: clock\nDescription: Converts a local time from one time zone to another.\n"
        'Parameters: {"type": "object", "properties": {"to": {"type": "string", '
        '"description": "time zone to convert to"}}, "required": ["to"]}\n\n'
        "The request:\nConvert the time to Europe/Vienna.\n\nThe call:\nAction: clock\n"
        'Action Input: {"to": "%s"}\n\nWhat the tool returned:\n"09:00"\n\n'
        "The reply to the person:\nIt is 09:00.\n\nAnswer three questions"
    )
    assert "Appropriate: Yes" in judge(prompt % "Europe/Vienna")
    assert "Appropriate: No" in judge(prompt % "Europe/Paris")


def test_asked_again_the_teacher_judges_the_same_trial() -> None:
    from ste_ray.simulated_provider.teacher.script import reply

    prompt = PROMPTS.render(
        "judge",
        tool="Tool: t\nDescription: d\nParameters: {}",
        query=QUERY,
        tool_name="calendar",
        arguments=GOOD,
        observation='{"date": "1453-01-19"}',
        final_answer="The date is 1453-01-19.",
    )
    asked = [{"role": "user", "content": prompt}]
    first = reply(asked, 1)
    again = PROMPTS.render("judge_again", problem="faithful: it is not there")
    later = [*asked, {"role": "assistant", "content": "Hm"}, {"role": "user", "content": again}]
    assert reply(later, 1) == first
    assert first.startswith("Informative: ")


def test_asked_again_the_teacher_paraphrases_in_other_words() -> None:
    from ste_ray.simulated_provider.teacher.script import reply

    prompt = PROMPTS.render("paraphrase_first", query=QUERY, values="14 March 2031")
    asked = [{"role": "user", "content": prompt}]
    first = reply(asked, 1)
    again = PROMPTS.render("paraphrase_again", problem="lost the value '14 March 2031'")
    later = [*asked, {"role": "assistant", "content": first}, {"role": "user", "content": again}]
    second = reply(later, 1)
    assert "14 March 2031" in second
    assert second not in (first, QUERY)


def test_a_default_is_appropriate_only_where_nothing_else_is_asked_for() -> None:
    prompt = (
        "Tool: words\nDescription: Writes a number out in words.\n"
        'Parameters: {"type": "object", "properties": {"lang": {"type": "string", "default": "en", '
        '"description": "language of the words; English if left out"}}}\n\n'
        "The request:\nWrite 7 in words%s.\n\nThe call:\nAction: words\n"
        'Action Input: {"lang": "%s"}\n\nWhat the tool returned:\n{"words": "%s"}\n\n'
        "The reply to the person:\nIt is %s.\n\nAnswer three questions"
    )
    assert "Appropriate: Yes" in judge(prompt % ("", "en", "seven", "seven"))
    assert "Appropriate: Yes" in judge(prompt % (" in English", "en", "seven", "seven"))
    assert "Appropriate: Yes" in judge(prompt % (" in French", "fr", "sept", "sept"))
    assert "Appropriate: No" in judge(prompt % (" in French", "en", "seven", "seven"))


@pytest.mark.parametrize(
    ("observation", "answer", "verdict"),
    [
        ('{"valid": true}', "It is valid.", "Supported"),
        ('{"valid": true}', "It is not valid.", "Unsupported"),
        ('{"valid": false}', "It is not valid.", "Supported"),
        ('{"valid": false}', "Yes, that is valid.", "Unsupported"),
        ('{"valid": true}', "That is number 77.", "Unsupported"),
        ('{"valid": true}', "I am sorry, I could not find out.", "Unanswered"),
        ("[]", "There are none.", "Supported"),
        ("[]", "It is a nice day.", "Unanswered"),
        ('{"date": "1453-01-19"}', "It is 1453-01-19.", "Supported"),
        ('{"date": "1453-01-19"}', "It is 1453-01-12.", "Unsupported"),
        ('{"city": "Paris"}', "It is Paris.", "Supported"),
        ('{"city": "Paris"}', "It is Lima.", "Unanswered"),
        ("The sky is blue", "It is blue.", "Supported"),
    ],
)
def test_the_teacher_judges_final_answers(observation: str, answer: str, verdict: str) -> None:
    from ste_ray.simulated_provider.teacher.script import reply

    prompt = PROMPTS.render(
        "score_answer",
        tool="Tool: t\nDescription: d\nParameters: {}",
        query="Action Input: and Final Answer: of 14 March?",
        tool_name="t",
        arguments="{}",
        observation=observation,
        answer=answer,
    )
    asked = [{"role": "user", "content": prompt}]
    first = reply(asked, 1)
    assert first.startswith(f"Verdict: {verdict}\nReason: ")
    again = PROMPTS.render("score_answer_again", problem="no verdict in 'hm'")
    later = [*asked, {"role": "assistant", "content": "hm"}, {"role": "user", "content": again}]
    assert reply(later, 1) == first
