"""The published descriptions become tool files that can be read again."""

import json
from pathlib import Path

import pytest
from tool_specs import load_tool_specs

from ste_ray.cli.main import main
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.spec.writing import write_tool_specs
from ste_ray.tools.toolbench.study_import import import_descriptions
from ste_ray.tools.toolbench.study_types import default_value, typed_schema

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the study's data is not at {REFERENCE}"
)


def parameter(name, kind, default="", description=""):
    return {"name": name, "type": kind, "description": description, "default": default}


def endpoint(required=(), optional=(), description="Lists the tides.", parent="All about tides."):
    return json.dumps(
        {
            "description": description,
            "required_parameters": list(required),
            "optional_parameters": list(optional),
            "parent_tool_name": "Tides",
            "parent_tool_description": parent,
        }
    )


def prose(arguments, text="Tells the tide, as {{{{place}}}}.."):
    end = "The Action to trigger this API should be tide and the input parameters should be a json."
    schema = f" Your input should be a json (args json schema): {arguments} " if arguments else "  "
    return f"{text}{schema}{end}"


def imported(folder, descriptions, **others):
    (folder / "API_descriptions.json").write_text(json.dumps(descriptions), encoding="utf-8")
    for name, content in others.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return import_descriptions(folder)


def test_an_endpoint_keeps_its_name_texts_and_parameters(tmp_path):
    text = endpoint(
        required=[parameter("port", "STRING", "Oslo", "where"), parameter("day", "NUMBER", "14")],
        optional=[
            parameter("from", "DATE (YYYY-MM-DD)"),
            parameter("at", "TIME (24-hour HH:MM)", description="when"),
            parameter("port", "NUMBER", "1", "listed twice"),
        ],
    )
    (spec,) = imported(tmp_path, {"Tides%%By port ": text}, tool2cate={"Tides": "Sea"})
    assert spec.name == "Tides%%By port "
    assert spec.description == "Lists the tides.\nPart of Tides: All about tides."
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "port": {"type": "string", "description": "where", "default": "Oslo"},
            "day": {"type": "number", "default": 14},
            "from": {"type": "string", "format": "date"},
            "at": {"type": "string", "description": "when (TIME (24-hour HH:MM))"},
        },
        "required": ["port", "day"],
    }
    assert spec.executor.as_written() == {
        "kind": "toolbench",
        "tool_name": "Tides",
        "api_name": "By port ",
        "category": "Sea",
    }
    assert (spec.family, spec.effect) == ("Tides", "unknown")


def test_texts_that_are_missing_are_made_up_of_the_names(tmp_path):
    (spec,) = imported(tmp_path, {"Tides%%All": endpoint(description="", parent="")})
    assert spec.description == "The endpoint 'All' of Tides."
    assert "category" not in spec.executor.as_written()


@pytest.mark.parametrize(
    ("arguments", "properties"),
    [
        ("", {}),
        ('{{"place" : string, }}', {"place": {"type": "string"}}),
        (
            '{{"place" : string, "days" : integer, "height":number,"far" : boolean}}',
            {
                "place": {"type": "string"},
                "days": {"type": "integer"},
                "height": {"type": "number"},
                "far": {"type": "boolean"},
            },
        ),
        (
            "{'a' : array, 'b': whatever, }",
            {"a": {"type": "array"}, "b": {"description": "(whatever)"}},
        ),
        ("{{}}", {}),
    ],
)
def test_a_function_s_arguments_are_found_in_its_prose(tmp_path, arguments, properties):
    descriptions = {"tide": prose(arguments, text="Tells the tide of {{place}}..")}
    (spec,) = imported(
        tmp_path, descriptions, API_dict_bmtools={"tide": {"parent_tool_name": "sea"}}
    )
    assert spec.description == "Tells the tide of {place}."
    assert spec.parameters["properties"] == properties
    assert spec.parameters.get("required", []) == list(properties)
    assert spec.executor.as_written() == {"kind": "bmtools", "function": "tide"}
    assert spec.family == "sea"


@pytest.mark.parametrize(
    ("written", "schema"),
    [
        ("string", {"type": "string"}),
        ("ENUM", {"type": "string"}),
        ("BOOLEAN", {"type": "boolean"}),
        ("OBJECT", {"type": "object"}),
        ("ARRAY", {"type": "array"}),
        ("List[str]", {"type": "array"}),
        ("string[]", {"type": "array"}),
        ("int", {"type": "integer"}),
        ("DATE (DD/MM/YYYY)", {"type": "string"}),
        ("GEOPOINT (latitude, longitude)", {"type": "string"}),
        ("", {}),
        ("CREDIT CARD", {}),
    ],
)
def test_types_as_publishers_write_them(written, schema):
    assert typed_schema(written)[0] == schema


@pytest.mark.parametrize(
    ("json_type", "written", "expected"),
    [
        ("number", "14", 14),
        ("number", "-3.70", -3.7),
        ("number", "fourteen", None),
        ("number", "1e999", None),
        ("number", "NaN", None),
        ("number", True, None),
        ("integer", "2.5", None),
        ("boolean", "True", True),
        ("boolean", False, False),
        ("boolean", "yes", None),
        ("string", True, "true"),
        ("string", " x", " x"),
        ("string", ["x"], None),
        ("array", '["a"]', ["a"]),
        ("array", "2", None),
        ("array", "[", None),
        ("object", {"a": 1}, {"a": 1}),
        (None, {"a": 1}, {"a": 1}),
        ("string", "", None),
        ("string", None, None),
    ],
)
def test_defaults_are_kept_where_they_fit_the_type(json_type, written, expected):
    value = default_value(json_type, written)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("descriptions", "part"),
    [
        ({"a%%b": "{"}, "description of 'a%%b': Expecting property name"),
        ({"a%%b": 1}, "1 is no text"),
        ({"a%%b": '{"required_parameters": {}}'}, None),
        ({"a%%b": '{"required_parameters": [1]}'}, "required_parameters holds 1"),
        ({"%%b": "{}"}, "its name is not of the form 'Tool%%Endpoint'"),
        ({"tide": prose('{{"a" : string, ')}, "has no matching braces"),
        ({"tide": "(args json schema): none"}, "has no matching braces"),
        ([], "is no JSON object"),
    ],
)
def test_a_description_of_neither_kind_is_refused(tmp_path, descriptions, part):
    if part is None:
        assert imported(tmp_path, descriptions)[0].parameters["properties"] == {}
        return
    with pytest.raises(ToolSpecError) as caught:
        imported(tmp_path, descriptions)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_what_is_written_is_read_back_the_same(tmp_path, suffix):
    specs = imported(
        tmp_path,
        {
            "Tides%%By port ": endpoint(
                [parameter("d", "STRING", "2013-12-31", "yes\r\n\tÑ \x85")]
            ),
            "no": prose('{{"on" : string, }}'),
        },
    )
    path = tmp_path / f"tools{suffix}"
    write_tool_specs(specs, path)
    assert load_tool_specs([str(path)], shipped=tmp_path) == {spec.name: spec for spec in specs}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["API_descriptions.json", path.name]


def test_the_command_says_how_many_there_are_of_each_kind(tmp_path, capsys):
    imported(tmp_path, {"Tides%%All": endpoint(), "tide": prose(""), "ebb": prose("")})
    out = str(tmp_path / "tools.yaml")
    assert main(["tools", "import", "study", str(tmp_path), "--out", out, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["file"], shown["tools"]) == (out, 3)
    assert shown["kinds"] == {"bmtools": 2, "toolbench": 1}
    assert shown["effects"] == dict.fromkeys(["Tides%%All", "tide", "ebb"], "unknown")
    assert shown["secrets"] == ["TOOLBENCH_KEY"]
    assert len(load_tool_specs([out], shipped=tmp_path)) == 3


@pytest.mark.parametrize(
    ("source", "out", "part"),
    [
        ("nowhere", "t.yaml", "there are no tool files at 'nowhere'"),
        (".", "t.toml", "end its name in .yaml, .yml, .json"),
        (".", "nowhere/t.yaml", "give a file in an existing folder"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path, monkeypatch, capsys, source, out, part):
    monkeypatch.chdir(tmp_path)
    imported(tmp_path, {"Tides%%All": endpoint()})
    assert main(["tools", "import", "study", source, "--out", out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line


@needs_reference
@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_all_published_descriptions_are_imported_and_read_back(tmp_path, suffix):
    published = json.loads((REFERENCE / "API_descriptions.json").read_text(encoding="utf-8"))
    specs = import_descriptions(REFERENCE)
    assert [spec.name for spec in specs] == list(published)
    kinds = [spec.executor.kind for spec in specs]
    assert (kinds.count("toolbench"), kinds.count("bmtools")) == (807, 10)
    assert all(
        "category" in s.executor.as_written() for s in specs if s.executor.kind == "toolbench"
    )
    path = tmp_path / f"study{suffix}"
    write_tool_specs(specs, path)
    assert load_tool_specs([str(path)], shipped=tmp_path) == {spec.name: spec for spec in specs}


@needs_reference
def test_no_published_parameter_or_default_is_lost():
    published = json.loads((REFERENCE / "API_descriptions.json").read_text(encoding="utf-8"))
    checked = 0
    for spec in import_descriptions(REFERENCE / "API_descriptions.json"):
        if spec.executor.kind != "toolbench":
            continue
        fields = json.loads(published[spec.name])
        assert fields["description"].strip() in spec.description
        listed = fields["required_parameters"] + fields["optional_parameters"]
        assert {one["name"] for one in listed} == set(spec.parameters["properties"])
        assert {one["name"] for one in fields["required_parameters"]} == set(
            spec.parameters.get("required", ())
        )
        for one in listed:
            described = spec.parameters["properties"][one["name"]]
            assert ("default" in described) == (one["default"] not in ("", None))
            assert one["description"].strip() in described.get("description", "")
            checked += 1
    assert checked == 1421


@needs_reference
def test_the_right_calls_of_the_study_fit_the_imported_schemas():
    checks = {spec.name: ArgumentCheck(spec.parameters) for spec in import_descriptions(REFERENCE)}
    items = json.loads((REFERENCE / "tool_test.json").read_text(encoding="utf-8"))
    refused = [
        api
        for api, queries in items.items()
        for item in queries
        if checks[api].refusal(item["action_input"])
    ]
    # Two calls leave out what the publisher requires, one gives a boolean for a text.
    assert sorted(refused) == ["Numbers%%Get math fact", "PTL%%update", "PTL%%update"]
