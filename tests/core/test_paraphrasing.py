import pytest
from flow_examples import PROMPTS, lines
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.effects import ModelReply
from ste_ray.core.preparing.paraphrasing import num_paraphrases, paraphrase_flow
from ste_ray.runtime.fakes import play

QUERY = "Fly from LHR at 9?"
ARGUMENTS = '{"iata":"LHR","hour":9,"unit":"km"}'


def paraphrase(count, *replies, query=QUERY, arguments=ARGUMENTS):
    return play(paraphrase_flow(query, arguments, count, PROMPTS), replies)


@pytest.mark.parametrize(
    ("num_examples", "count"),
    [
        (0, 0), (1, 6), (21, 6), (23, 6), (24, 5), (40, 3), (43, 2), (50, 2), (61, 1), (75, 1),
        (99, 1), (100, 1), (101, 0), (400, 0),
    ],
)  # fmt: skip
def test_about_150_examples_a_tool_with_at_most_6_paraphrases_each(num_examples, count):
    assert num_paraphrases(num_examples, 150, 6) == count


@given(st.integers(0, 2000), st.integers(1, 500), st.integers(0, 10))
def test_the_number_of_paraphrases_is_the_formula_and_never_negative(number, target, maximum):
    count = num_paraphrases(number, target, maximum)
    assert 0 <= count <= maximum
    if number:
        assert count == max(0, min(round(target / number) - 1, maximum))


def test_each_paraphrase_is_asked_in_one_conversation():
    results, requests = paraphrase(2, "User Query: Leave lhr at 9", "At 9 from LHR?")
    assert [(one.text, one.kept, one.reason) for one in results] == [
        ("Leave lhr at 9", True, ""),
        ("At 9 from LHR?", True, ""),
    ]
    first = f"u: REPHRASE {QUERY} KEEP LHR, 9"
    assert lines(requests[0].messages) == [first]
    assert lines(requests[1].messages) == [first, "a: User Query: Leave lhr at 9", "u: NEXT"]
    assert {request.role for request in requests} == {"paraphraser"}
    assert {request.sampling.temperature for request in requests} == {1.0}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("fly from lhr at 9!", "a copy of an earlier wording"),
        ("Leave LHR then", "lost the value '9'"),
        ("Leave LHR at 19", "lost the value '9'"),
        ("Leave at 9", "lost the value 'LHR'"),
        ("", "empty paraphrase"),
        (
            ModelReply(text="Leave LHR at 9 becau", finish_reason="length"),
            "the reply was cut at 240 tokens",
        ),
    ],
)
def test_a_fault_is_asked_again_once_and_then_dropped_with_its_reason(bad, reason):
    text = bad.text if isinstance(bad, ModelReply) else bad
    results, requests = paraphrase(2, bad, "LHR at 9, please", bad, bad)
    good, dropped = results
    assert (good.text, good.kept) == ("LHR at 9, please", True)
    assert (dropped.text, dropped.kept, dropped.reason) == (text, False, reason)
    assert len(requests) == 4
    assert len(requests[-1].messages) == 7
    assert lines(requests[1].messages)[-1] == f"u: AGAIN {reason}"
    assert lines(requests[2].messages)[-1] == "u: NEXT"


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_blank_reply_never_enters_the_conversation(blank):
    _, requests = paraphrase(1, blank, "LHR at 9, please")
    assert lines(requests[1].messages)[1:] == ["a: (no reply)", "u: AGAIN empty paraphrase"]


@pytest.mark.parametrize("finish", ["failed", "content_filter", "context_overflow"])
def test_what_the_endpoint_refuses_ends_the_conversation(finish):
    refused = ModelReply(text="", finish_reason=finish)
    results, requests = paraphrase(3, "LHR at 9, please", refused)
    assert len(requests) == 2
    assert [one.kept for one in results] == [True, False]
    assert results[1].reason


@pytest.mark.parametrize(
    ("wording", "kept"),
    [
        ("Could I have 1000 dollars moved on March 5, 2024?", True),
        ("Move one thousand dollars on 5 March 2024, please", True),
        ("Move 1,000 dollars on 2024-03-05, please", True),
        ("Move 1,000 dollars on March 5", False),
        ("Move 10,000 dollars on March 5, 2024", False),
    ],
)
def test_a_value_may_be_written_in_another_form(wording, kept):
    query = "Transfer 1,000 dollars on 2024-03-05."
    arguments = '{"amount":1000,"day":"2024-03-05"}'
    replies = [wording] if kept else [wording, wording]
    results, requests = paraphrase(1, *replies, query=query, arguments=arguments)
    assert results[0].kept == kept
    assert "KEEP 1,000, 2024-03-05" in requests[0].messages[0].content


def test_paraphrases_must_differ_from_each_other():
    results, _ = paraphrase(2, "LHR at 9", "LHR at 9.", "lhr  at 9")
    assert [one.kept for one in results] == [True, False]


def test_without_copied_values_none_are_demanded():
    results, (request,) = paraphrase(1, "Tell me the date", query="What day?", arguments="{}")
    assert results[0].kept
    assert request.messages[0].content == "REPHRASE What day? KEEP none"


def test_no_paraphrases_no_request():
    assert paraphrase(0) == ([], [])
