"""The shipped general requests: that they load, differ, and hold what their use rests on."""

import json
import re
from collections import Counter

import pytest

from ste_ray.imports.general_data import GeneralData
from ste_ray.resources import resource_folder

FILE = resource_folder("jobs") / "general_requests.jsonl"


@pytest.fixture(scope="module")
def examples():
    data = GeneralData(str(FILE))
    found = list(data)
    assert not data.skipped
    return found


def words(text):
    return re.findall(r"\w+", text.casefold())


def test_every_line_is_one_request_and_one_answer(examples):
    assert len(examples) == len(FILE.read_text("utf-8").splitlines()) >= 260
    for dialog, response in examples:
        assert [message.role for message in dialog] == ["user"]
        assert 3 <= len(dialog[0].content.split()) <= 40, dialog[0].content
        assert 8 <= len(response.split()) <= 40, response


def test_answers_are_plain_sentences(examples):
    for _, response in examples:
        assert re.fullmatch(r"[^\n`#•|]+[.?!]", response), response
        assert not re.match(r"[-*]|\d+[.)]", response), response


def test_no_request_and_no_answer_comes_twice(examples):
    for texts in ([dialog[0].content for dialog, _ in examples], [given for _, given in examples]):
        ((text, times),) = Counter(" ".join(words(text)) for text in texts).most_common(1)
        assert times == 1, text


def test_requests_open_and_end_in_many_ways(examples):
    requests = [dialog[0].content for dialog, _ in examples]
    openings = Counter(" ".join(words(text)[:3]) for text in requests)
    assert openings.most_common(1)[0][1] <= 8
    assert len(openings) > 0.8 * len(requests)
    asked_with_a_mark = sum(text.endswith("?") for text in requests)
    assert 0.3 < asked_with_a_mark / len(requests) < 0.7
    assert sum(text[0].islower() for text in requests) > 25


def test_a_good_third_are_about_what_the_tools_do(examples):
    rows = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
    near = [row for row in rows if row["near_a_tool"]]
    assert 0.3 < len(near) / len(rows) < 0.45
    assert len({row["subject"] for row in near}) >= 10
    with_digits = [row for row in near if re.search(r"\d", row["messages"][0]["content"])]
    assert len(with_digits) >= 20
