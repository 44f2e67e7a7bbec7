import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.preparing.number_words import number_words
from ste_ray.core.preparing.values import find_value, required_values


@pytest.mark.parametrize(
    ("query", "arguments", "written"),
    [
        ("From LHR to jfk", '{"a":"lhr","b":"JFK"}', ("LHR", "jfk")),
        ("Add 5 to 7", '{"n":[5,7,8]}', ("5", "7")),
        ("Is it 5.5?", '{"n":5}', ()),
        ("Is it 15?", '{"n":5}', ()),
        ("Is it 5,000?", '{"n":5}', ()),
        ("Is it 5, or 6?", '{"n":5}', ("5",)),
        ("Is it 5.5?", '{"n":5.5}', ("5.5",)),
        ("-5 degrees", '{"n":-5}', ("-5",)),
        ("-5 degrees", '{"n":5}', ()),
        ("A B-52, or 3-5", '{"n":[52,5]}', ("52", "5")),
        ("A long way", '{"city":"LON"}', ()),
        ("Straße in Köln, 12 m", '{"city":"KÖLN","n":12}', ("Köln", "12")),
        ("東京の天気", '{"city":"東京"}', ("東京",)),
        ("Is it true?", '{"flag":true,"other":null,"empty":""}', ()),
        ("Deep 9 here", '{"a":{"b":[{"c":"9"}]}}', ("9",)),
        ("Twice 2 and 2", '{"a":2,"b":"2"}', ("2",)),
        ("Five miles on 5 March 2024", '{"n":5,"d":"2024-03-05"}', ("5", "5 March 2024")),
        ("Is it in Italian?", '{"lang":"it"}', ()),
        ("Say it in IT, please", '{"lang":"IT"}', ("IT",)),
        ("The code 'it', please", '{"lang":"it"}', ("it",)),
        ("I'd like the day", '{"form":"d"}', ()),
        ("Use form d, please", '{"form":"d"}', ("d",)),
        ("New\n York", '{"city":"new york"}', ("New\n York",)),
    ],
)
def test_values_that_stand_in_the_query(query, arguments, written):
    assert tuple(one.written for one in required_values(query, arguments)) == written


@given(st.text(min_size=1), st.text(alphabet=" \n"))
def test_a_value_is_found_among_spaces(value, space):
    found = find_value(value, f" {value} {space}")
    assert found is not None
    assert found.casefold().split() == value.casefold().split()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1000", "it is 1,000 here"),
        ("1000", "1000.0 m"),
        ("1000.0", "1000"),
        ("1000", "one thousand miles"),
        ("1,000", "1000"),
        ("0.5", "about .5 litres"),
        ("0.5", "0.50"),
        ("1500", "1.5e3"),
        ("-5", "\u22125 degrees"),
        ("-5", "minus five degrees"),
        ("-5", "negative five"),
        ("25", "Twenty-Five people"),
        ("25", "twenty five"),
        ("100", "a hundred"),
        ("125", "one hundred and twenty-five"),
        ("999999", "nine hundred ninety-nine thousand nine hundred and ninety nine"),
        ("1", "one mile"),
        ("0", "zero"),
        ("50", "50 %"),
        ("2024-03-05", "on March 5, 2024."),
        ("2024-03-05", "5 march 2024"),
        ("2024-03-05", "the 5th of March 2024"),
        ("2024-03-05", "Mar. 5th, 2024"),
        ("2024-03-05", "03/05/2024"),
        ("2024-03-05", "5/3/2024"),
        ("2024-03-05", "05.03.2024."),
        ("2024/03/05", "2024-3-5"),
        ("20240305", "March 5th 2024"),
        ("2024-09-05", "Sept 5, 2024"),
        ("2024-03-05T14:30", "March 5, 2024 at 2:30 pm"),
        ("2024-03-05 14:30:00", "2024-03-05, 14:30"),
        ("2024-03-05T00:00:00Z", "March 5, 2024"),
        ("14:30", "2.30 PM"),
        ("14:30", "2:30 p.m. today"),
        ("14:30:00", "14:30"),
        ("09:00", "9 am"),
        ("09:05", "9:05"),
        ("12:00", "at noon"),
        ("00:00", "at midnight"),
        ("2024-03", "March 2024"),
        ("2024-03", "03/2024"),
        ("New York", "new  york"),
    ],
)
def test_the_same_value_in_another_form(value, text):
    assert find_value(value, text) is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "15"),
        ("5", "5.5"),
        ("5", "5,000"),
        ("5", "minus five"),
        ("5", "the fifth"),
        ("1000", "1.000"),
        ("1.5", "1,5"),
        ("1000", "ten thousand"),
        ("20", "twenty-five"),
        ("5", "twenty five"),
        ("1000", "one thousand two hundred"),
        ("200", "one thousand two hundred"),
        ("12", "a dozen"),
        ("1", "this one is it"),
        ("1", "which one?"),
        ("0.5", "50 %"),
        ("50", "0.50"),
        ("-5", "5"),
        ("2024-03-05", "March 5"),
        ("2024-03-05", "March 15, 2024"),
        ("2024-03-05", "March 5, 20245"),
        ("2024-03-05", "15/03/2024"),
        ("2024-03-05", "05.03.24"),
        ("2024-03-05", "May 3, 2024"),
        ("2024-13-05", "March 5, 2024"),
        ("2024-03-05T14:30", "March 5, 2024"),
        ("2024-03-05T14:30", "March 5, 2024 at 2:30 am"),
        ("14:30", "2:30"),
        ("14:30", "2:30 am"),
        ("02:30", "2:30 pm"),
        ("14:30", "14:300"),
        ("09:00", "19:00"),
        ("2024-03", "May 2024"),
        ("LON", "long"),
        ("", "anything"),
    ],
)
def test_what_is_not_surely_the_same_is_not_found(value, text):
    assert find_value(value, text) is None


@given(st.integers(-999_999, 999_999))
def test_every_number_is_found_by_its_words_and_figures(number):
    words = " ".join(number_words(number))
    assert find_value(str(number), f"I have {words} of them") is not None
    assert find_value(str(number), f"I have {number:,} of them") is not None
    other = number + 1 if number < 999_999 else number - 1
    assert find_value(str(other), f"I have {words} of them") is None


@given(st.dates(datetime.date(1000, 1, 1), datetime.date(2999, 12, 31)))
def test_every_date_is_found_in_each_of_its_forms(date):
    year, month, day = f"{date.year}", f"{date:%B}", f"{date.day}"
    for text in (
        f"{month} {day}, {year}",
        f"{day} {month[:3]} {year}",
        f"the {day}th of {month} {year}",
        f"{date.month}/{day}/{year}",
        f"{date:%d.%m.%Y}",
        f"{date:%Y/%m/%d}",
        f"{date:%Y%m%d}",
    ):
        assert find_value(date.isoformat(), f"It is on {text}, I think") is not None
    following = date + datetime.timedelta(days=31)
    assert find_value(following.isoformat(), f"on {month} {day}, {year}") is None


@pytest.mark.timeout(30)
@pytest.mark.parametrize("unit", ["1,", "one ", "12:", "2024-", "-", "and ", " "])
def test_long_texts_take_linear_time(unit):
    text = unit * (100_000 // len(unit))
    for value in ("7", "123456", "2024-03-05", "14:30", "Oslo"):
        find_value(value, text)
