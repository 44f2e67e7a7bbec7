"""Options of chat templates: what is refused, and how they are written into a template."""

from __future__ import annotations

import jinja2
import pytest

from ste_ray.config import Config, load_config
from ste_ray.core.template_options import unused_options, with_options
from ste_ray.errors import ConfigError

VALUE = "{{ mode | tojson }}"


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        None,
        3,
        -1.5,
        "low",
        'a "quoted" \\ text',
        "{% %} {{ }} é 😀\n",
        [1, "a"],
        {"a": [None]},
    ],
)
def test_values_arrive_as_they_are(value):
    environment = jinja2.Environment()
    environment.filters["tojson"] = repr
    for fixed in (True, False):
        made = environment.from_string(with_options(VALUE, {"mode": value}, fixed=fixed))
        assert made.render() == repr(value)
        assert made.render(mode=7) == (repr(value) if fixed else "7")


def test_fixed_options_stand_before_those_of_training():
    trained = with_options(VALUE, {"mode": "a"})
    environment = jinja2.Environment()
    environment.filters["tojson"] = repr
    assert (
        environment.from_string(with_options(trained, {"mode": "b"}, fixed=True)).render() == "'b'"
    )
    assert with_options(VALUE, {}) == VALUE


def test_options_that_a_template_does_not_know():
    assert unused_options("{% if enable_thinking %}", {"enable_thinking": 1, "x_y": 2}) == ["x_y"]


@pytest.mark.parametrize("section", ["train", "infer"])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("{tokenize: true}", "set by the program itself"),
        ("{add_generation_prompt: false}", "set by the program itself"),
        ("{chat_template: x}", "set by the program itself"),
        ("{messages: []}", "set by the program itself"),
        ("{a-b: 1}", "no name of an option"),
        ("{if: 1}", "no name of an option"),
        ("{_x: 1}", "no name of an option"),
        ("{x: .inf}", "use texts, numbers"),
        ("[a]", "dictionary"),
    ],
)
def test_options_that_cannot_be_given_are_refused(section, options, reason):
    with pytest.raises(ConfigError, match=rf"{section}\.template_options.*{reason}"):
        load_config(None, [f"{section}.template_options={options}"])


def test_no_options_are_as_if_there_were_none():
    fields = Config().stage_fields("train")["train"]
    assert "template_options" not in fields
    given = load_config(None, ["train.template_options={enable_thinking: false}"])
    assert given.stage_fields("train")["train"]["template_options"] == {"enable_thinking": False}
    assert given.stage_fingerprint("train") != Config().stage_fingerprint("train")
    assert given.stage_fingerprint("infer") == Config().stage_fingerprint("infer")
