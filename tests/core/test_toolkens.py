import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.toolkens import (
    escape_toolkens,
    is_toolken,
    tool_name,
    toolken,
    unescape_toolkens,
)

NAMES = st.text(min_size=1)
# Text that is full of near misses of the escape.
TRICKY = st.text(alphabet="<tool_\\x> ")


@given(NAMES)
def test_a_name_survives_its_toolken(name):
    assert tool_name(toolken(name)) == name


@pytest.mark.parametrize("token", ["", "tool", "<tool_>", "<tool_x", "tool_x>", "<tools_x>"])
def test_other_tokens_are_no_toolkens(token):
    assert not is_toolken(token)
    with pytest.raises(ValueError, match="no toolken"):
        tool_name(token)


def test_an_empty_name_has_no_toolken():
    with pytest.raises(ValueError, match="name"):
        toolken("")


def test_escaping_leaves_a_visible_mark_and_other_text_alone():
    assert escape_toolkens("call <tool_x> now") == r"call <tool\_x> now"
    assert escape_toolkens("a <tool> and tool_x") == "a <tool> and tool_x"


@given(NAMES, st.text(), st.text())
def test_escaped_text_holds_no_toolken(name, before, after):
    assert "<tool_" not in escape_toolkens(f"{before}{toolken(name)}{after}")


@given(TRICKY | st.lists(st.sampled_from(["<tool", "\\", "_", "x>"])).map("".join))
def test_escaping_can_be_undone(text):
    escaped = escape_toolkens(text)
    assert "<tool_" not in escaped
    assert unescape_toolkens(escaped) == text
