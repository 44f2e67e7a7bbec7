"""What terminals are shown: nothing that steers them or hides."""

import json

import pytest

from ste_ray.process.output import print_json, print_result, printable, say, write_text

UNSAFE = "\x1b[2J\x07\r\x00\x7f\x9b31m\u202e\u2066\u200b\ufeff\u2028\ud800\U000e0041"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb", "a\nb"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("50%\rdone", "50%\\rdone".replace("\\r", "\\x0d")),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("日本 é שלום مرحبا \u200d👩‍🚀", "日本 é שלום مرحبا \u200d👩‍🚀"),
        ("\\x1b", "\\x1b"),
    ],
)
def test_unsafe_characters_are_written_out(text, shown):
    assert printable(text) == shown


def test_everything_that_is_printed_is_safe(capsys):
    say(UNSAFE)
    write_text(UNSAFE)
    print_result({"text": UNSAFE}, UNSAFE, as_json=False)
    print_result({"text": UNSAFE}, UNSAFE, as_json=True)
    print_json([UNSAFE])
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert printable(text) == text
        text.encode()


def test_json_means_the_same_to_a_machine(capsys):
    print_json({"text": UNSAFE, "é": "日本"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": UNSAFE, "é": "日本"}
    assert "日本" in out
