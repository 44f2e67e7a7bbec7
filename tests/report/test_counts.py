"""What a stage counted, as a person reads it."""

from ste_ray.report.counts import counts_text


def test_settings_are_a_table_and_nothing_is_a_raw_mapping():
    row = {"queries": 1142, "errors": 0, "prompt_tokens": 31231}
    counts = {
        "queries": 1142,
        "settings": {"base/retrieved": row, "tuned/toolken": {"queries": 2, "errors": 3}},
        "spent": {"usd": 0.125, "tokens": 1234567},
        "outcomes": {"out_of_turns": 2},
        "faults": {},
        "models": ["a", "b"],
        "tool_recall": 0.98765,
        "rounds": [{"rows": 10}, {"rows": 20}],
        "replies_per_second": 1234.56,
        "nothing": None,
        "equal": True,
    }
    assert counts_text(counts) == (
        "  queries             1,142\n"
        "  spent               usd 0.125, tokens 1,234,567\n"
        "  outcomes            out of turns 2\n"
        "  faults              none\n"
        "  models              a, b\n"
        "  tool recall         0.9877\n"
        "  replies per second  1,234.6\n"
        "  nothing             –\n"
        "  equal               yes\n"
        "\n"
        "  setting         queries  errors  prompt tokens\n"
        "  --------------  -------  ------  -------------\n"
        "  base/retrieved    1,142       0         31,231\n"
        "  tuned/toolken         2       3              –\n"
        "\n"
        "  round  rows\n"
        "  -----  ----\n"
        "  1        10\n"
        "  2        20\n"
    )


def test_no_figures_are_no_lines():
    assert counts_text({}) == ""


def test_a_group_within_a_row_has_columns_of_its_own():
    settings = {"a": {"queries": 4, "timing": {"seconds": 1.5}}, "b": {"queries": 5}}
    assert counts_text({"settings": settings}).splitlines()[1:] == [
        "  setting  queries  timing seconds",
        "  -------  -------  --------------",
        "  a              4             1.5",
        "  b              5               \N{EN DASH}",
    ]
