"""ToolBench's tool files, and the study's descriptions, become tools of the kind asked for.

The files are written for the test, in the form of the public ToolBench data.
"""

import json
import time
from pathlib import Path

import pytest
from tool_specs import load_tool_specs

from ste_ray.errors import ToolSpecError
from ste_ray.tools.spec.names import name_problem
from ste_ray.tools.spec.writing import write_tool_specs
from ste_ray.tools.toolbench.tool_files import import_toolbench

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the study's data is not at {REFERENCE}"
)
KINDS = ["toolbench", "rapidapi", "simulated"]


def parameter(name, kind="STRING", default="", description=""):
    return {"name": name, "type": kind, "description": description, "default": default}


def endpoint(name, path="/tides", method="GET", required=(), optional=(), **fields):
    return {
        "name": name,
        "url": f"https://tides.p.rapidapi.com{path}",
        "description": f"About {name}.",
        "method": method,
        "required_parameters": list(required),
        "optional_parameters": list(optional),
        "code": "import requests",
        "test_endpoint": {"a": [1]},
        **fields,
    }


def tool(*endpoints, name="Tides", **fields):
    return {
        "product_id": "api_1",
        "tool_name": name,
        "tool_description": "All about tides.",
        "title": name,
        "home_url": "https://rapidapi.com/x/api/tides",
        "host": "tides.p.rapidapi.com",
        "api_list": list(endpoints),
        "standardized_name": name.lower(),
        **fields,
    }


def write(folder, name, content):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_an_endpoint_becomes_a_tool_behind_the_server(tmp_path):
    listed = endpoint(
        "By port",
        required=[
            parameter("port", default="Oslo", description="where"),
            parameter("day", "NUMBER"),
        ],
        optional=[parameter("far", "BOOLEAN", "perhaps"), parameter("port", "NUMBER")],
    )
    file = write(tmp_path, "tools/Video_Images/tides.json", tool(listed))
    (spec,) = import_toolbench(file)
    assert spec.name == "Tides%%By port"
    assert spec.description == "About By port.\nPart of Tides: All about tides."
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "port": {"type": "string", "description": "where", "default": "Oslo"},
            "day": {"type": "number"},
            "far": {"type": "boolean"},
        },
        "required": ["port", "day"],
    }
    assert spec.executor.as_written() == {
        "kind": "toolbench",
        "tool_name": "Tides",
        "api_name": "By port",
        "category": "Video_Images",
    }
    assert (spec.family, spec.effect, spec.secrets) == ("Tides", "read_only", ("TOOLBENCH_KEY",))
    assert import_toolbench(tmp_path / "tools") == [spec]
    assert import_toolbench(tmp_path / "tools" / "Video_Images") == [spec]


@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("GET", "read_only"),
        ("get", "read_only"),
        ("POST", "writes"),
        ("PUT", "writes"),
        ("PATCH", "writes"),
        ("DELETE", "destructive"),
        ("", "unknown"),
        (None, "unknown"),
        ("FETCH", "unknown"),
    ],
)
def test_the_method_tells_the_effect(tmp_path, method, effect):
    file = write(tmp_path, "t.json", tool(endpoint("a", method=method)))
    assert import_toolbench(file)[0].effect == effect
    assert import_toolbench(file, "simulated")[0].effect == "read_only"


def test_what_no_name_may_hold_becomes_a_space(tmp_path):
    odd = tool(endpoint("High\u0085\u2028and <low>"), name="Tides\x1b")
    (spec,) = import_toolbench(write(tmp_path, "tides.json", odd))
    assert spec.name == "Tides %%High and  low "
    assert name_problem(spec.name, "toolbench") == ""


def test_at_rapidapi_a_tool_has_host_path_and_method(tmp_path):
    listed = [
        endpoint("All", path="/"),
        endpoint("One", path="/ports/{id}/of/{place}?full=1", optional=[parameter("id", "NUMBER")]),
        endpoint("Tell", method="post"),
    ]
    file = write(tmp_path, "t.json", tool(*listed))
    everything, one, tell = import_toolbench(file, "rapidapi")
    assert everything.executor.as_written() == {
        "kind": "rapidapi",
        "host": "tides.p.rapidapi.com",
        "path": "/",
        "method": "GET",
    }
    assert one.executor.path == "/ports/{id}/of/{place}?full=1"
    assert one.parameters["properties"]["id"] == {"type": "number"}
    assert one.parameters["properties"]["place"]["type"] == "string"
    assert one.parameters["required"] == ["id", "place"]
    assert (tell.executor.method, tell.effect) == ("POST", "writes")
    assert tell.secrets == ("RAPIDAPI_KEY",)


def test_a_host_that_is_missing_is_taken_from_the_address(tmp_path):
    file = write(tmp_path, "t.json", tool(endpoint("a"), host=None))
    assert import_toolbench(file, "rapidapi")[0].executor.host == "tides.p.rapidapi.com"


def test_a_simulated_tool_needs_nothing_and_keeps_what_it_stands_for(tmp_path):
    file = write(tmp_path, "Sea/t.json", tool(endpoint("a", method="DELETE"), host=""))
    (spec,) = import_toolbench(file, "simulated")
    assert spec.executor.as_written() == {
        "kind": "simulated",
        "of": {"kind": "toolbench", "tool_name": "Tides", "api_name": "a", "category": "Sea"},
    }
    assert (spec.effect, spec.secrets) == ("read_only", ())


def test_a_folder_is_read_in_the_order_of_categories_files_and_lists(tmp_path):
    write(tmp_path, "Sea/b.json", tool(endpoint("z"), endpoint("y"), name="B"))
    write(tmp_path, "Sea/a.json", tool(endpoint("x"), name="A"))
    write(tmp_path, "Air/c.json", tool(endpoint("w"), name="C"))
    write(tmp_path, "Air/._c.json", "\x00\x05")
    write(tmp_path, "__MACOSX/Air/c.json", "no JSON")
    write(tmp_path, ".git/d.json", "no JSON")
    write(tmp_path, "readme.txt", "no JSON")
    names = [spec.name for spec in import_toolbench(tmp_path)]
    assert names == ["C%%w", "A%%x", "B%%z", "B%%y"]


def test_names_stay_unique(tmp_path):
    first = endpoint("a", description="first")
    write(tmp_path, "Air/t.json", tool(first, endpoint("a", description="second")))
    write(tmp_path, "Sea/t.json", tool(endpoint("a", description="third")))
    specs = import_toolbench(tmp_path)
    assert [spec.name for spec in specs] == ["Tides%%a", "Tides (Sea)%%a"]
    assert [spec.description.split("\n")[0] for spec in specs] == ["first", "third"]
    assert [spec.executor.category for spec in specs] == ["Air", "Sea"]
    write(tmp_path, "Sea/u.json", tool(endpoint("a")))
    with pytest.raises(ToolSpecError, match=r"u\.json.*another file of the category defines"):
        import_toolbench(tmp_path)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@pytest.mark.parametrize("kind", KINDS)
def test_odd_names_are_written_and_read_back(tmp_path, kind, suffix):
    names = ["Get <id>\nnow", "天气 ", "a\tb", "x%%y", "ü" * 300, "{}"]
    file = write(tmp_path, "t.json", tool(*map(endpoint, names)))
    specs = import_toolbench(file, kind)
    assert len(specs) == len(names)
    assert specs[0].name == "Tides%%Get  id now"
    if kind == "toolbench":
        assert [spec.executor.api_name for spec in specs] == names
    out = tmp_path / f"out{suffix}"
    write_tool_specs(specs, out)
    assert load_tool_specs([str(out)], shipped=tmp_path) == {spec.name: spec for spec in specs}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "Expecting property name"),
        ("[" * 200_000, "recursion"),
        ([], "is no tool file"),
        ({"tool_name": "x"}, "is no tool file"),
        (tool(endpoint("a"), name=" "), "tool_name=' ' is no name"),
        (tool("a"), "api_list holds 'a', which is no object"),
        (tool(endpoint("")), "whose name is ''"),
        (tool(endpoint("a", required=[{}])), "endpoint 'a': required_parameters holds {}"),
        (tool(endpoint("a", required_parameters={"b": 1})), "endpoint 'a': required_parameters="),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, part):
    write(tmp_path, "Sea/good.json", tool(endpoint("a"), name="Good"))
    file = write(tmp_path, "Sea/wrong.json", content)
    with pytest.raises(ToolSpecError) as caught:
        import_toolbench(tmp_path)
    assert str(caught.value).startswith(f"{str(file)!r}: ")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_file_or_endpoint_is_skipped_where_that_is_collected(tmp_path):
    write(tmp_path, "Sea/good.json", tool(endpoint("a"), endpoint("b", required=[{}]), "c"))
    write(tmp_path, "Sea/wrong.json", "{")
    skipped = []
    assert [spec.name for spec in import_toolbench(tmp_path, skipped=skipped)] == ["Tides%%a"]
    names = [name for name, _ in skipped]
    assert names[0] == "Tides%%b"
    assert [name.rpartition("/")[2] for name in names[1:]] == ["good.json", "wrong.json"]
    (tmp_path / "Sea/good.json").unlink()
    with pytest.raises(ToolSpecError, match=r"nothing in it can be used; .*wrong\.json"):
        import_toolbench(tmp_path, skipped=[])


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"method": ""}, "endpoint 'a': method='' is none of GET"),
        ({"url": ""}, "endpoint 'a': neither host='' nor url='' says where it is"),
    ],
)
def test_what_rapidapi_needs(tmp_path, fields, part):
    file = write(tmp_path, "t.json", tool(endpoint("a", **fields), host=""))
    assert len(import_toolbench(file)) == 1
    with pytest.raises(ToolSpecError, match=part):
        import_toolbench(file, "rapidapi")


@pytest.mark.parametrize("place", ["nowhere", "empty", "none.json"])
def test_places_without_endpoints(tmp_path, place):
    (tmp_path / "empty").mkdir()
    write(tmp_path, "none.json", tool())
    with pytest.raises(ToolSpecError, match="there are no"):
        import_toolbench(tmp_path / place)


def test_thousands_of_files_take_seconds(tmp_path):
    many = [
        endpoint(f"e{number}", required=[parameter(f"p{n}") for n in range(4)])
        for number in range(5)
    ]
    for number in range(1500):
        write(tmp_path, f"c{number % 40}/t{number}.json", tool(*many, name=f"T{number}"))
    started = time.monotonic()
    assert len(import_toolbench(tmp_path)) == 7500
    assert time.monotonic() - started < 30  # it takes about one; machines that run tests are shared


def study(folder):
    text = json.dumps({"description": "d", "required_parameters": [], "optional_parameters": []})
    prose = "Tells the tide. The Action to trigger this API should be tide."
    write(folder, "API_descriptions.json", {"Tides%%All": text, "tide": prose})
    write(folder, "tool2cate.json", {"Tides": "Sea"})
    return folder


def test_the_study_s_descriptions_are_taken_too(tmp_path):
    folder = study(tmp_path)
    endpoint, function = import_toolbench(folder)
    assert endpoint.executor.category == "Sea"
    assert (endpoint.effect, endpoint.secrets) == ("unknown", ("TOOLBENCH_KEY",))
    assert function.executor.kind == "bmtools"
    renamed = (folder / "API_descriptions.json").rename(folder / "mine.json")
    assert len(import_toolbench(renamed)) == 2


def test_the_study_s_tools_can_be_played_but_not_called_at_rapidapi(tmp_path):
    folder = study(tmp_path)
    for spec, called in zip(
        import_toolbench(folder, "simulated"), import_toolbench(folder), strict=True
    ):
        assert spec.executor.as_written() == {
            "kind": "simulated",
            "of": called.executor.as_written(),
        }
        assert (spec.effect, spec.secrets) == ("read_only", ())
    with pytest.raises(ToolSpecError, match="'toolbench' or 'simulated'"):
        import_toolbench(folder, "rapidapi")


@needs_reference
@pytest.mark.parametrize("kind", ["toolbench", "simulated"])
def test_the_published_study_is_imported_and_read_back(tmp_path, kind):
    specs = import_toolbench(REFERENCE, kind)
    assert len(specs) == 817
    out = tmp_path / "study.json"
    write_tool_specs(specs, out)
    assert load_tool_specs([str(out)], shipped=tmp_path) == {spec.name: spec for spec in specs}
