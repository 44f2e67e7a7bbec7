"""The export as tests of BFCL, loaded by its own loader and judged by its own checker."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace

import pytest
from exports.prepared_run import make_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ste_ray.cli.main import main
from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import general_no_call_test
from ste_ray.core.records import Example
from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.exports.bfcl_functions import NoPlaceError, bfcl_answer, bfcl_function
from ste_ray.stages.shared.tools import configure_tools
from ste_ray.store.tables import write_records
from tests.peer_modules import needs_peer, peer_modules

pytestmark = needs_peer("bfcl_eval")


def export(store, out, *options):
    assert main(["export", "bfcl", "--run", store.uri, "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """BFCL's loader and checker, without its clients of models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BFCL_PROJECT_ROOT", str(tmp_path_factory.mktemp("bfcl")))
        clients = {"bfcl_eval.constants.model_config": {"MODEL_CONFIG_MAPPING": {}}}
        with peer_modules(clients):
            checker = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
            enums = importlib.import_module("bfcl_eval.constants.enums")

            def right(functions, call, answer, category="multiple"):
                found = checker.ast_checker(
                    functions, [call], answer, enums.Language.PYTHON, category, "a model"
                )
                return found["valid"]

            yield SimpleNamespace(
                right=right, files=importlib.import_module("bfcl_eval.utils"), checker=checker
            )


def read(peer, monkeypatch, folder, category):
    """Return tests and answers as BFCL's loader reads them from the folder."""
    monkeypatch.setattr(peer.files, "PROMPT_PATH", folder)
    monkeypatch.setattr(peer.files, "POSSIBLE_ANSWER_PATH", folder / "possible_answer")
    tests = peer.files.load_dataset_entry(category)
    if "irrelevance" in category:
        return tests, []
    return tests, peer.files.load_ground_truth_entry(category)


NUMBERED = {
    "add": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "number": {"type": "integer"}},
        "required": ["a"],
    },
    "find": {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "number", "default": 2.5},
            "flag": {"type": "boolean"},
            "number": {"type": "integer"},
        },
    },
}


def describe_all_arguments(store):
    """Let the schemas of two tools name what their examples have."""
    specs = store.read_json(layout.TOOLS)
    for spec in specs:
        spec["parameters"] = NUMBERED.get(spec["name"], spec["parameters"])
    store.write_json(layout.TOOLS, specs)


def test_bfcl_finds_each_recorded_call_right_and_others_wrong(tmp_path, monkeypatch, peer):
    store, examples, _ = make_run(tmp_path / "run")
    describe_all_arguments(store)
    folder = export(store, tmp_path / "out")
    tests, answers = read(peer, monkeypatch, folder, "multiple")
    marker = json.loads((folder / "export.json").read_text())
    assert marker["rows"] == {"multiple": 3}
    assert marker["left_out"] == {"tests with an argument that the tool's schema does not name": 1}
    wanted = {one.query: one for one in examples if one.split == "test"}
    assert len(tests) == len(answers) == 3
    for test, answer in zip(tests, answers, strict=True):
        assert test["id"] == answer["id"]
        one = wanted[test["question"][0][0]["content"]]
        name, arguments = safe_name(one.tool), json.loads(one.arguments_json)
        assert {function["name"] for function in test["function"]} >= {name}
        assert len(test["function"]) == 4

        def right(call, test=test, answer=answer):
            return peer.right(test["function"], call, answer["ground_truth"])

        assert right({name: arguments})
        assert not right({"other": arguments})
        assert not right({name: {**arguments, "more": 1}})
        for changed in arguments:
            assert not right({name: {**arguments, changed: "another value"}})
            less = {key: value for key, value in arguments.items() if key != changed}
            assert right({name: less}) == (changed == "limit")  # which has a default


SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "share": {"type": ["number", "null"]},
        "name": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "kind": {"enum": ["a", "b"], "default": "a"},
        "flag": {"type": "boolean", "default": False},
        "names": {"type": "array", "items": {"type": "string"}},
        "numbers": {"type": "array", "items": {"type": "number"}},
        "place": {"$ref": "#/$defs/place"},
        "places": {"type": "array", "items": {"$ref": "#/$defs/place"}},
        "mixed": {"type": ["string", "integer"]},
        "anything": {},
    },
    "required": ["count"],
    "$defs": {
        "place": {
            "type": "object",
            "properties": {
                "x": {"type": "number"},
                "town": {"type": "string"},
                "inner": {"type": "object", "properties": {"y": {"type": "integer"}}},
            },
            "required": ["x"],
        }
    },
}
# Letters alone: BFCL does not see spaces and some punctuation.
_words = st.text("abcdefgh", min_size=1, max_size=5)
_integers = st.integers(-9, 9)
_numbers = st.one_of(_integers, st.floats(-9, 9, allow_nan=False))
_broken = _numbers.map(lambda one: int(one) + 0.5)
_places = st.fixed_dictionaries(
    {"x": _numbers}, optional={"town": _words, "inner": st.just({"y": 2})}
)
_values = {
    "count": _integers,
    "share": st.one_of(st.none(), _numbers),
    "name": st.one_of(st.none(), _words),
    "kind": st.sampled_from(["a", "b"]),
    "flag": st.booleans(),
    "names": st.lists(_words, max_size=3),
    "numbers": st.one_of(st.lists(_integers, max_size=3), st.lists(_broken, max_size=3)),
    "place": _places,
    "places": st.lists(_places, max_size=2),
    "mixed": st.one_of(_words, _integers),
    "anything": st.one_of(_words, _integers),
}
_arguments = st.fixed_dictionaries(
    {"count": _values["count"]},
    optional={name: one for name, one in _values.items() if name != "count"},
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(gold=_arguments, other=_arguments)
def test_bfcl_and_our_scores_agree_where_both_compare_alike(peer, gold, other):
    function = bfcl_function("f", "does", SCHEMA)
    answer = [{"f": bfcl_answer(gold, {}, SCHEMA)}]
    assert peer.right([function], {"f": gold}, answer)
    ours = not compare_arguments(gold, other, SCHEMA)
    assert peer.right([function], {"f": other}, answer) == ours


def test_types_are_those_of_bfcl():
    told = bfcl_function("f", "does", SCHEMA)["parameters"]
    assert told["type"] == "dict"
    assert told["required"] == ["count"]
    kinds = {name: one["type"] for name, one in told["properties"].items()}
    assert kinds == {
        "count": "integer", "share": "float", "name": "string", "kind": "string",
        "flag": "boolean", "names": "array", "numbers": "array", "place": "dict",
        "places": "array", "mixed": "any", "anything": "any",
    }  # fmt: skip
    place = told["properties"]["places"]["items"]
    assert place["properties"]["inner"]["properties"] == {"y": {"type": "integer"}}
    assert told["properties"]["kind"]["default"] == "a"


def test_further_right_values_and_defaults_are_right_in_bfcl_too(peer):
    function = bfcl_function("f", "does", SCHEMA)
    answer = [{"f": bfcl_answer({"count": 1, "kind": "a"}, {"count": [2], "share": [0.5]}, SCHEMA)}]
    for arguments, right in (
        ({"count": 2}, True),
        ({"count": 3}, False),
        ({"count": 1, "flag": False}, True),
        ({"count": 1, "flag": True}, False),
        ({"count": 1, "share": 0.5}, True),
        ({"count": 1, "name": None}, True),
        ({"kind": "a"}, False),
    ):
        assert peer.right([function], {"f": arguments}, answer) == right, arguments


def test_lists_that_bfcl_cannot_compare_have_no_place(peer):
    function = bfcl_function("f", "does", SCHEMA)
    for numbers in ([1, 2.5], [1.0, 2.5], [2.0, 1], [2.5, 3.5]):
        gold = {"count": 1, "numbers": numbers}
        assert peer.right([function], {"f": gold}, [{"f": bfcl_answer(gold, {}, SCHEMA)}])
    gold = {"count": 1, "numbers": [2.5, 1]}
    with pytest.raises(NoPlaceError, match="whole and broken"):
        bfcl_answer(gold, {}, SCHEMA)
    assert not peer.right([function], {"f": gold}, [{"f": {"count": [1], "numbers": [[2.5, 1]]}}])


def test_a_schema_that_holds_itself_comes_to_an_end():
    tree = {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/tree"}},
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
            }
        },
    }
    assert json.dumps(bfcl_function("f", "does", tree)).count("array") < 20


def test_the_checker_knows_all_types_of_the_built_in_tools(peer):
    def places(told):
        yield told
        for one in told.get("properties", {}).values():
            yield from places(one)
        if "items" in told:
            yield from places(told["items"])

    for tool in configure_tools(load_config(None, ()).tools).specs.values():
        told = bfcl_function(tool.name, tool.description, tool.parameters)["parameters"]
        for place in places(told):
            assert place["type"] in peer.checker.PYTHON_TYPE_MAPPING
            assert place["type"] != "array" or place["items"]["type"]


def test_requests_without_a_call_are_tests_of_irrelevance(tmp_path, monkeypatch, peer):
    store, _, _ = make_run(tmp_path / "run")
    test = general_no_call_test("Who wrote this?", "Nobody.")
    write_records(store, layout.NO_CALL_TESTS, [test], Example)
    folder = export(store, tmp_path / "out", "--tools-per-row", "2")
    ((found,), _) = read(peer, monkeypatch, folder, "irrelevance")
    assert found["id"] == "irrelevance_0"
    assert found["question"] == [[{"role": "user", "content": "Who wrote this?"}]]
    assert len(found["function"]) == 2


def test_a_run_without_tests_is_told_so(tmp_path, capsys):
    store, _, _ = make_run(tmp_path / "run", splits=False)
    out = tmp_path / "out"
    assert main(["export", "bfcl", "--run", store.uri, "--out", str(out)]) == 2
    assert "holds no test that BFCL has a form for" in capsys.readouterr().err
    assert not out.exists()
