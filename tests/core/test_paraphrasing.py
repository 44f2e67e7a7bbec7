import pytest
from flow_examples import PROMPTS, lines

from ste_ray.core.effects import ModelReply
from ste_ray.core.paraphrasing import num_paraphrases, paraphrase_flow
from ste_ray.runtime.fakes import play

QUERY = "Fly from LHR at 9?"
ARGUMENTS = '{"iata":"LHR","hour":9,"unit":"km"}'


def paraphrase(count, *replies, query=QUERY, arguments=ARGUMENTS):
    return play(paraphrase_flow(query, arguments, count, PROMPTS), replies)


@pytest.mark.parametrize(
    ("num_examples", "count"),
    [(0, 0), (1, 6), (21, 6), (22, 5), (40, 2), (50, 2), (51, 1), (75, 1), (76, 0), (400, 0)],
)
def test_up_to_150_examples_a_tool_with_at_most_6_paraphrases_each(num_examples, count):
    assert num_paraphrases(num_examples, 150, 6) == count
    assert num_examples * (1 + count) <= max(150, num_examples)


def test_each_paraphrase_is_asked_in_one_conversation():
    results, requests = paraphrase(2, "User Query: Leave lhr at 9", "At 9 from LHR?")
    assert [(one.text, one.kept, one.reason) for one in results] == [
        ("Leave lhr at 9", True, ""),
        ("At 9 from LHR?", True, ""),
    ]
    first = f"u: REPHRASE {QUERY} KEEP LHR, 9"
    assert lines(requests[0].messages) == [first]
    assert lines(requests[1].messages) == [first, "a: User Query: Leave lhr at 9", "u: AGAIN"]
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
        (ModelReply(text="Leave LHR at 9 becau", finish_reason="length"), "cut off"),
        (ModelReply(text="", finish_reason="content_filter"), "cut off"),
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


@pytest.mark.parametrize("blank", ["", " \n", ModelReply(text="", finish_reason="content_filter")])
def test_a_blank_reply_never_enters_the_conversation(blank):
    _, requests = paraphrase(1, blank, "LHR at 9, please")
    assert lines(requests[1].messages)[1:] == ["a: (no reply)", "u: AGAIN"]


def test_paraphrases_must_differ_from_each_other():
    results, _ = paraphrase(2, "LHR at 9", "LHR at 9.", "lhr  at 9")
    assert [one.kept for one in results] == [True, False]


def test_without_copied_values_none_are_demanded():
    results, (request,) = paraphrase(1, "Tell me the date", query="What day?", arguments="{}")
    assert results[0].kept
    assert request.messages[0].content == "REPHRASE What day? KEEP none"


def test_no_paraphrases_no_request():
    assert paraphrase(0) == ([], [])
