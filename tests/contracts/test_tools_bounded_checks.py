"""Checks of arguments end in time, whatever schema and arguments hold, and outside the loop."""

import asyncio
import json
import time

import pytest

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.tools.checks import bounded as bounded_checks
from ste_ray.tools.checks import schemas as schema_checks
from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.checks.bounded import BoundedCheck
from ste_ray.tools.checks.cost import CheckCost
from ste_ray.tools.checks.pool import UncheckedError, shared_pool
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.run.toolbox import Toolbox

MAX_REFUSAL_CHARS = 8_000


def of(**fields):
    return {"type": "object", "properties": {"a": fields}}


def nested(levels):
    schema = {"type": "integer"}
    for _ in range(levels):
        schema = {"allOf": [{"anyOf": [schema, schema]}, schema]}
    return schema


DOUBLING = {
    **of(**{"$ref": "#/$defs/n0"}),
    "$defs": {
        f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} if i < 40 else {"type": "string"}
        for i in range(41)
    },
}
ENDLESS = {**of(**{"$ref": "#/$defs/a"}), "$defs": {"a": {"$ref": "#/$defs/a"}}}
HOSTILE = [
    ({"type": "object", "patternProperties": {"^(a+)+$": True}}, json.dumps({"a" * 60 + "!": 1})),
    (of(propertyNames={"pattern": "^(a|a)*$"}), json.dumps({"a": {"a" * 60 + "!": 1}})),
    (of(items={"pattern": "^(a|a)*$"}), json.dumps({"a": ["a" * 60 + "!"] * 200})),
    (of(**nested(9)), json.dumps({"a": "x"})),
    (DOUBLING, json.dumps({"a": 1})),
    (ENDLESS, json.dumps({"a": 1})),
    (of(anyOf=[{"const": i} for i in range(200_000)]), json.dumps({"a": [1, 2, 3]})),
    (of(enum=[[i] for i in range(200_000)]), json.dumps({"a": {"b": 1}})),
    (of(uniqueItems=True), json.dumps({"a": [x for i in range(20_000) for x in (i, str(i))]})),
    (of(contains={"not": {"type": "integer"}}), json.dumps({"a": list(range(300_000))})),
    (of(items={"type": "string"}), json.dumps({"a": list(range(100_000))})),
    # Refusals write down what is allowed, for each wrong item.
    (of(items={"const": {str(i): [i] * 50 for i in range(400)}}), json.dumps({"a": [0] * 600})),
    (of(items={"enum": ["x" * 400_000] * 3}), json.dumps({"a": [0] * 600})),
    (of(items={"type": "string", "description": "x" * 9_000_000}), json.dumps({"a": [0] * 1300})),
    ({"type": "object"}, json.dumps({f"x{i}": 1 for i in range(100_000)})),
    (of(**{"not": {"pattern": "(x+x+)+y"}}), json.dumps({"a": "x" * 500})),
]


@pytest.mark.parametrize(("schema", "arguments"), HOSTILE)
def test_a_check_ends_in_time_and_never_holds_up_the_loop(schema, arguments):
    async def main():
        check = BoundedCheck("t", schema)
        found = asyncio.create_task(check.refusal(arguments))
        # Processor time of this process: how busy the machine is says nothing of the check.
        longest, last, num_turns = 0.0, time.process_time(), 0
        while not found.done():
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.process_time() - last), time.process_time()
            num_turns += 1
        return longest, num_turns, await found

    shared_pool().close_idle()
    started = time.monotonic()
    longest, num_turns, refusal = asyncio.run(main())
    seconds = time.monotonic() - started
    assert seconds < 10
    assert longest < 0.5
    # A loop that only waits takes no processor time, but neither does it turn.
    assert num_turns >= 20 * seconds - 20
    assert refusal is None or len(refusal) < MAX_REFUSAL_CHARS


@pytest.mark.parametrize(
    "schema",
    [
        of(items={"type": "string", "minLength": 2, "description": "A word. " * 60}),
        of(items={"enum": [f"value {i}" for i in range(100)]}),
        of(const={"unit": "metric"}),
    ],
)
def test_everyday_rules_are_checked_where_the_call_is_made(schema):
    assert CheckCost(schema).is_small(json.dumps({"a": ["x"] * 10}))


def test_values_of_any_depth_are_refused_in_words():
    check = ArgumentCheck(of(type="string"))
    for depth in range(900, 1000):  # at some depth what could be read cannot be written any more
        assert "argument" in check.refusal('{"a": ' + "[" * depth + "]" * depth + "}")


def test_what_cannot_be_checked_is_said_once_and_the_tool_is_called(capfd, monkeypatch):
    spec = ToolSpec(
        name="wild",
        description="Takes names.",
        parameters={"type": "object", "patternProperties": {"^(a+)+$": True}},
        executor={"kind": "python", "target": "m:f"},
    )

    class Calling:
        async def call(self, call):
            return ToolResult(status="ok", text="called")

        async def aclose(self):
            pass

    async def main():
        async with Toolbox({"wild": spec}, lambda _: Calling()) as tools:
            slow = CallTool(tool="wild", arguments_json=json.dumps({"a" * 60 + "!": 1}))
            return [await tools.call(slow) for _ in range(5)]

    monkeypatch.setattr(bounded_checks, "_CHECK_SECONDS", 0.3)
    started = time.monotonic()
    assert {one.text for one in asyncio.run(main())} == {"called"}
    assert time.monotonic() - started < 15  # after a few, it is no longer tried
    said = capfd.readouterr().err
    assert said.count("'wild'") == 1
    assert "processor time" in said


def test_one_that_is_slow_leaves_others_their_checks():
    slow = BoundedCheck("slow", HOSTILE[0][0])
    other = BoundedCheck("other", of(pattern="^[a-z]+$"))

    async def main():
        return await asyncio.gather(
            slow.refusal(HOSTILE[0][1]), *(other.refusal(json.dumps({"a": i})) for i in ("x", "1"))
        )

    assert [one is None for one in asyncio.run(main())] == [True, True, False]


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (of(pattern="^[a-z]+$"), '{"a": "1"}'),
        (of(uniqueItems=True), '{"a": [1, 1]}'),
        ({**of(type="object"), "minProperties": 1}, "{}"),
        (of(**{"$ref": "#/$defs/b"}) | {"$defs": {"b": {"enum": ["x", "y"]}}}, '{"a": "z"}'),
        (of(type="string"), '{"a": 1, "b": 2}'),
        (of(type="string"), "[1"),
    ],
)
def test_refusals_are_the_same_wherever_they_are_made(schema, arguments, monkeypatch):
    here = ArgumentCheck(schema).refusal(arguments)
    assert here is not None
    assert asyncio.run(BoundedCheck("t", schema).refusal(arguments)) == here
    monkeypatch.setattr(CheckCost, "is_small", lambda *_: False)
    assert BoundedCheck("t", schema).refusal_now(arguments) == here


def test_everyday_checks_are_made_at_once(monkeypatch):
    def elsewhere(*_):
        raise AssertionError("needs no process")

    monkeypatch.setattr(bounded_checks, "shared_pool", elsewhere)
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1, "description": "A city."},
            "unit": {"anyOf": [{"enum": ["C", "F"]}, {"type": "null"}], "default": None},
            "where": {"$ref": "#/$defs/place"},
            "days": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["city"],
        "$defs": {"place": {"type": "object", "properties": {"x": {"type": "number"}}}},
    }
    check = BoundedCheck("t", schema)
    good = '{"city": "Rome", "unit": null, "where": {"x": 1.5}, "days": [1, 2, 3]}'
    assert check.refusal_now(good) is None
    assert "expected integer" in check.refusal_now('{"city": "Rome", "days": ["1"]}')


@pytest.mark.parametrize(
    "schema",
    [
        of(pattern="(a+)+$"),
        of(pattern="a|b"),
        of(pattern=r"(.)\1"),
        of(pattern="a" * 201),
        of(patternProperties={"a": True}),
        of(enum=list(range(100_000))),
        of(**nested(3)),
        of(unevaluatedProperties=False),
        of(**{"$dynamicRef": "#a"}),
        of(**{"$ref": "#/properties/a"}),
        of(something={}),
        DOUBLING,
        ENDLESS,
    ],
)
def test_what_may_be_much_work_is_known_as_such(schema):
    assert not CheckCost(schema).is_small("{}")


PLAIN = [
    ("^[A-Z]{3}$", "A"),
    (r"^\d{4}-\d{2}-\d{2}$", "1"),
    ("^a*$", "a"),
    ("a*b", "a"),
    ("a*a*b", "a"),
    ("a?a?b", "a"),
    ("^a+a+a+b$", "a"),
    ("a{1,99}a{1,}b", "a"),
    (r"^[^@\s]+@[^@\s]+$", "@"),
    (r"\w+\s*$", "a"),
    ("a{999}b", "a"),
]


@pytest.mark.parametrize(("pattern", "letter"), PLAIN)
def test_plain_patterns_are_tried_at_once_on_texts_that_keep_nobody_waiting(pattern, letter):
    schema = of(type="string", pattern=pattern)
    cost, check = CheckCost(schema), ArgumentCheck(schema)
    texts = (json.dumps({"a": letter * number + "!"}) for number in range(20_000, 0, -1))
    longest = next(text for text in texts if cost.is_small(text))
    assert not cost.is_small(longest + " " * 2_000_000)
    started = time.process_time()
    for _ in range(10):
        assert check.refusal(longest).startswith("Invalid arguments: argument 'a' is")
    assert (time.process_time() - started) / 10 < 0.01


def test_conditions_and_unique_values_are_checked_at_once_where_they_are_few():
    few, many = (json.dumps({"a": [[n] for n in range(size)]}) for size in (20, 40))
    assert CheckCost(of(uniqueItems=True)).is_small(few)
    assert not CheckCost(of(uniqueItems=True)).is_small(many)
    assert CheckCost(of(uniqueItems=False)).is_small(many)
    parts = {"if": {"required": ["b"]}, "then": {"not": {"const": 1}}, "else": True}
    assert CheckCost(of(**parts)).is_small('{"a": 1}')
    assert not CheckCost(of(**{"not": {"not": {"not": {}}}})).is_small("{}")


def test_long_arguments_are_much_work():
    cost = CheckCost(of(type="string"))
    assert cost.is_small(json.dumps({"a": "x" * 1_000}))
    assert not cost.is_small(json.dumps({"a": "x" * 100_000}))
    assert not cost.is_small(json.dumps({"a": [1] * 9_000}))


def test_a_refusal_shows_little_of_what_is_long():
    long = "x" * 1_000_000
    schema = of(enum=[long, *range(5_000)], description=long)
    for refusal in (
        BoundedCheck("t", schema).refusal_now(json.dumps({"a": long + "y", long: 1})),
        BoundedCheck("t", {**schema, "required": [long]}).refusal_now("{}"),
        BoundedCheck("t", of(anyOf=[{"const": long}])).refusal_now(json.dumps({"a": long[1:]})),
    ):
        assert refusal.startswith("Invalid arguments: ")
        assert len(refusal) < MAX_REFUSAL_CHARS


def test_a_schema_is_checked_for_a_limited_time(monkeypatch):
    monkeypatch.setattr(schema_checks, "_CHECK_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"cannot be checked: it takes more than 0\.5 s"):
        check_parameters(of(**{"not": nested(8)}))
    assert time.monotonic() - started < 10


def test_a_wrong_schema_is_refused_in_few_words():
    with pytest.raises(ValueError, match="is no valid JSON Schema") as caught:
        check_parameters(of(**{"not": {"type": "x" * 100_000}}))
    assert len(str(caught.value)) < MAX_REFUSAL_CHARS


def test_a_schema_too_deep_is_refused():
    schema = {"type": "object"}
    for _ in range(100_000):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(ValueError, match="nested too deeply"):
        check_parameters(schema)
    while schema:  # taken apart level by level: a deep one cannot be deleted at once
        schema = schema.pop("properties", {}).pop("a", {})


def test_a_process_that_died_is_replaced():
    pool = shared_pool()
    schema = of(pattern="^[a-z]+$")
    assert pool.ask("k", schema, 1.0, '{"a": "x"}') is None
    with pytest.raises(UncheckedError):
        pool.ask("slow", HOSTILE[0][0], 0.2, HOSTILE[0][1])
    assert "does not match" in pool.ask("k", schema, 1.0, '{"a": "1"}')
