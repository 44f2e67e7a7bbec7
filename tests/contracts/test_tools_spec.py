"""Tool files: what is read, and the one line that refuses a wrong one."""

import copy
import json
import pickle
import re
from pathlib import Path

import pytest
import yaml
from tool_specs import load_tool_specs

from ste_ray.core.executor_specs import EXECUTOR_SPECS
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.spec.checks import build_spec
from ste_ray.tools.spec.files import read_tool_files
from ste_ray.tools.spec.safety import allowed_specs
from ste_ray.tools.spec.writing import write_tool_specs

TOOL = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
    "executor": {"kind": "python", "target": "my_tools:weather"},
}


@pytest.fixture
def shipped(tmp_path):
    folder = tmp_path / "shipped"
    (folder / "basic").mkdir(parents=True)
    write(folder / "basic" / "a.yaml", {"tools": [{**TOOL, "name": "shipped_tool"}]})
    return folder


def write(path, content):
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def tool_file(folder, file_name="tools.yaml", /, **changes):
    tool = {**copy.deepcopy(TOOL), **changes}
    return write(folder / file_name, {"tools": [tool]})


def refusal(files, shipped, include=()):
    with pytest.raises(ToolSpecError) as caught:
        load_tool_specs(files, include, shipped=shipped)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_files_folders_and_shipped_sets_sorted_by_name(tmp_path, shipped):
    folder = tmp_path / "folder"
    folder.mkdir()
    tool_file(folder, "z.yml", name="zebra")
    (folder / "a.json").write_text(json.dumps({"tools": [{**TOOL, "name": "ant"}]}))
    (folder / "notes.txt").write_text("no tools here")
    single = tool_file(tmp_path, name="weather")
    specs = load_tool_specs([single, str(folder), "basic"], shipped=shipped)
    assert list(specs) == ["ant", "shipped_tool", "weather", "zebra"]
    assert all(name == spec.name for name, spec in specs.items())
    assert specs["weather"] == ToolSpec.model_validate(TOOL)


def test_include_selects_and_the_same_file_twice_is_one(tmp_path, shipped):
    path = write(
        tmp_path / "t.yaml", {"tools": [{**TOOL, "name": "b"}, TOOL, {**TOOL, "name": "a"}]}
    )
    assert list(load_tool_specs([path, path], ["b", "a"], shipped=shipped)) == ["a", "b"]


def test_defaults_hold_for_each_tool_unless_it_says_otherwise(tmp_path, shipped):
    content = {
        "defaults": {"family": "sky", "effect": "read_only", "timeout_seconds": 3},
        "tools": [TOOL, {**TOOL, "name": "other", "effect": "writes"}],
    }
    specs = load_tool_specs([write(tmp_path / "t.yaml", content)], shipped=shipped)
    assert (specs["weather"].family, specs["weather"].effect) == ("sky", "read_only")
    assert (specs["other"].effect, specs["other"].timeout_seconds) == ("writes", 3)


def test_an_unquoted_date_stays_text(tmp_path, shipped):
    path = tmp_path / "t.yaml"
    path.write_text(
        yaml.safe_dump({"tools": [TOOL]}) + "  examples: [{arguments: {city: 2026-03-02}}]\n"
    )
    spec = load_tool_specs([str(path)], shipped=shipped)["weather"]
    assert spec.examples[0].arguments == {"city": "2026-03-02"}


def test_a_missing_file_names_the_shipped_sets(shipped):
    message = refusal(["no/such.yaml"], shipped)
    assert "no tool file 'no/such.yaml'" in message
    assert message.endswith("or a shipped set: basic")


def test_an_empty_folder_and_no_files_at_all_are_refused(tmp_path, shipped):
    (tmp_path / "empty").mkdir()
    assert "holds no tool files" in refusal([str(tmp_path / "empty")], shipped)
    assert "set tools.files" in refusal([], shipped)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("t.yaml", "tools: [", "is no valid YAML: while parsing a flow node"),
        ("t.json", "{'tools': 1}", "is no valid JSON: Expecting property name"),
        ("t.yaml", "- a list", "must hold a mapping with the key 'tools'"),
        ("t.yaml", "tools: {}", "tools={}: write a list with at least one tool"),
        ("t.yaml", "tols: []", "unknown field 'tols' (did you mean 'tools'?)"),
        ("t.yaml", "tools: [weather]", "tools[0]='weather': write a mapping"),
        ("t.yaml", "defaults: 3\ntools: [a]", "defaults=3: write a mapping"),
        (
            "t.yaml",
            "defaults: {effects: writes}\ntools: [a]",
            "unknown field 'defaults.effects' (did you mean 'effect'?)",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, shipped, name, content, part):
    path = tmp_path / name
    path.write_text(content)
    message = refusal([str(path)], shipped)
    assert message.startswith(repr(str(path)))
    assert part in message


def test_a_file_that_is_no_text_is_refused(tmp_path, shipped):
    path = tmp_path / "t.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert f"cannot read tool file {str(path)!r}" in refusal([str(path)], shipped)


def test_a_name_in_two_files_names_both(tmp_path, shipped):
    first, second = tool_file(tmp_path, "1.yaml"), tool_file(tmp_path, "2.yaml")
    message = refusal([first, second], shipped)
    assert f"'weather' is defined twice, in {first!r} and in {second!r}; rename" in message


def test_include_of_an_unknown_tool_suggests_a_close_one(tmp_path, shipped):
    message = refusal([tool_file(tmp_path)], shipped, ["weathr"])
    assert "tools.include names 'weathr'" in message
    assert "did you mean 'weather'?" in message


PROPERTY = {"city": {"type": "string"}}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"descriptionn": "x"}, "unknown field 'descriptionn' (did you mean 'description'?)"),
        ({"description": ""}, "description='': String should have at least 1 character"),
        ({"effect": "readonly"}, "effect='readonly': Input should be 'read_only', 'idempotent'"),
        ({"timeout_seconds": 0}, "timeout_seconds=0: Input should be greater than 0"),
        ({"examples": [{"args": {}}]}, "unknown field 'examples[0].args'; remove it"),
        ({"name": "a\nb"}, "name='a\\nb' must have no '<', '>', line break"),
        ({"name": "<tool>"}, "must have no '<', '>'"),
        ({"name": "a "}, "name='a ' must have no '<', '>', line break, tab or outer space"),
        (
            {"executor": {"kind": "soap"}},
            "executor.kind='soap' is unknown; known kinds: 'python', 'mcp'",
        ),
        ({"executor": {"kind": "http"}}, "the field 'executor.url' is missing, for 'http'; add it"),
        ({"executor": {"kind": "http", "url": "ftp://x/y"}}, "must be an absolute http or https"),
        ({"executor": {"kind": "http", "url": "https://{city}/y"}}, "must not decide the host"),
        (
            {"executor": {"kind": "http", "url": "https://x/y", "query": {"q": "{town}"}}},
            "executor.query holds {town}, which parameters.properties lacks",
        ),
        (
            {"executor": {"kind": "mcp", "tool": "t", "server": {"name": "s"}}},
            "executor.server 's' must have either a command, which starts it, or a url",
        ),
        (
            {"executor": {"kind": "toolbench", "tool_name": "Tides"}},
            "the field 'executor.api_name' is missing, for 'toolbench'; add it",
        ),
        (
            {"executor": {"kind": "bmtools", "function": ""}},
            "executor.function='' must not be empty",
        ),
        ({"executor": {}}, "executor.kind=None is unknown"),
        (
            {"executor": {"kind": "python"}},
            "the field 'executor.target' is missing, for 'python'; add it",
        ),
        (
            {"executor": {"kind": "python", "target": "my_tools.weather"}},
            "executor.target='my_tools.weather' is no target; write 'module:function'",
        ),
        (
            {"executor": {"kind": "python", "target": "a:b", "url": "c"}},
            "unknown field 'executor.url'; allowed for 'python': kind, target",
        ),
        (
            {"parameters": {"type": "object", "properties": {"city": {"type": "text"}}}},
            "parameters.properties.city.type is no valid JSON Schema: 'text' is not valid",
        ),
        (
            {"parameters": {"type": "object", "properties": {"city": {"pattern": "("}}}},
            "parameters.properties.city.pattern is no valid JSON Schema",
        ),
        ({"parameters": {"type": "array"}}, "parameters.type='array' must be 'object'"),
        (
            {"parameters": {"type": "object", "properties": PROPERTY, "required": ["citty"]}},
            "parameters.required names 'citty', which parameters.properties lacks; describe it "
            "there (did you mean 'city'?)",
        ),
        (
            {"parameters": {"type": "object", "properties": {"a": {"$ref": "http://x/y"}}}},
            "$ref 'http://x/y' points outside",
        ),
        (
            {"parameters": {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}},
            "$ref '#/$defs/b' points at nothing",
        ),
        (
            {"parameters": {"type": "object", "properties": {1: {"type": "string"}}}},
            "tools[0].parameters.properties: the key 1 is no text; put it in quotes",
        ),
        (
            {"examples": [{"arguments": {"city": "Rome"}}, {"arguments": {"town": "Rome"}}]},
            "examples[1].arguments do not fit parameters: unknown argument 'town'",
        ),
    ],
)
def test_a_wrong_field_is_named_with_file_path_and_remedy(tmp_path, shipped, changes, part):
    path = tool_file(tmp_path, **changes)
    message = refusal([path], shipped)
    name = changes.get("name", "weather")
    assert message.startswith(f"{path!r}: tools[0] ({name!r}): ")
    assert part in message


def test_a_missing_field_is_named(tmp_path, shipped):
    tool = {key: value for key, value in TOOL.items() if key != "parameters"}
    message = refusal([write(tmp_path / "t.yaml", {"tools": [TOOL, tool]})], shipped)
    assert "cannot be imported: ModuleNotFoundError" in message
    assert message.endswith("give the tool a description and parameters of its own")
    tool["executor"] = {"kind": "http", "url": "https://x.test/"}
    message = refusal([write(tmp_path / "t.yaml", {"tools": [TOOL, tool]})], shipped)
    assert "tools[1] ('weather'): the field 'parameters' is missing; add it" in message


def test_an_example_that_expects_an_error_may_break_the_schema(tmp_path, shipped):
    path = tool_file(tmp_path, examples=[{"arguments": {"town": 1}, "expect_error": True}])
    assert load_tool_specs([path], shipped=shipped)["weather"].examples[0].expect_error


def by_effect():
    effects = ("read_only", "idempotent", "writes", "destructive", "unknown")
    return {
        name: ToolSpec.model_validate({**TOOL, "name": name, "effect": name}) for name in effects
    }


def test_only_tools_that_change_nothing_are_called_unasked():
    kept, left_out = allowed_specs(by_effect(), ["writes"])
    assert list(kept) == ["read_only", "writes"]
    assert list(left_out) == ["idempotent", "destructive", "unknown"]


def test_a_tool_that_was_asked_for_by_name_is_not_left_out_silently():
    with pytest.raises(ToolSpecError) as caught:
        allowed_specs(by_effect(), ["writes"], include=["read_only", "unknown", "destructive"])
    message = str(caught.value)
    assert re.findall(r"'(\w+)' \((\w+)\)", message) == [
        ("destructive", "destructive"),
        ("unknown", "unknown"),
    ]
    assert "tools.allow" in message


def test_when_nothing_may_be_called_all_are_named():
    unsafe = {name: spec for name, spec in by_effect().items() if name != "read_only"}
    with pytest.raises(ToolSpecError, match=r"'destructive'.*'idempotent'.*'unknown'.*'writes'"):
        allowed_specs(unsafe, ())


def test_a_simulated_tool_changes_nothing(tmp_path, shipped):
    path = tool_file(
        tmp_path,
        effect="destructive",
        executor={"kind": "simulated", "of": {"kind": "http", "url": "https://x.test/${KEY}"}},
    )
    spec = load_tool_specs([path], shipped=shipped)["weather"]
    assert (spec.effect, spec.secrets) == ("read_only", ())


HTTP = {"kind": "http", "url": "https://x.test/{city}", "headers": {"X-Key": "${WEATHER_KEY}"}}
SERVER = {"command": "weather-server", "env": {"TOKEN": "${WEATHER_TOKEN}"}}


def test_secrets_are_names_and_found_where_they_are_used(tmp_path, shipped):
    path = tool_file(tmp_path, executor=HTTP, secrets=["OTHER"])
    assert load_tool_specs([path], shipped=shipped)["weather"].secrets == ("OTHER", "WEATHER_KEY")
    message = refusal([tool_file(tmp_path, secrets=["sk-12345"])], shipped)
    assert "secrets[0] is no name of a secret" in message
    assert "sk-12345" not in message


def test_a_server_is_defined_once_and_named_by_its_tools(tmp_path, shipped):
    tools = [
        {**TOOL, "name": name, "executor": {"kind": "mcp", "tool": name, "server": "weather"}}
        for name in ("now", "soon")
    ]
    content = {"mcpServers": {"weather": SERVER}, "tools": tools}
    specs = load_tool_specs([write(tmp_path / "t.yaml", content)], shipped=shipped)
    assert specs["now"].executor.as_written()["server"] == {"name": "weather", **SERVER}
    assert specs["soon"].secrets == ("WEATHER_TOKEN",)
    content["tools"][0]["executor"]["server"] = "wether"
    message = refusal([write(tmp_path / "t.yaml", content)], shipped)
    assert "'now' names the MCP server 'wether'" in message
    assert "did you mean 'weather'?" in message


@pytest.mark.parametrize(
    ("executor", "identity"),
    [
        ({"kind": "python", "target": "a:b", "convert": "yes"}, "7998bd5254bcb225"),
        (
            {
                "kind": "mcp",
                "tool": "t",
                "server": {"name": "s", "command": "c", "stateful": "yes", "shielded": 0},
            },
            "f33bba65cd73d925",
        ),
        (
            {
                "kind": "openapi",
                "method": "GET",
                "url": "http://a/{b}",
                "parameters": [{"argument": "b", "name": "b", "place": "path", "explode": "no"}],
            },
            "492fab9a7ce863de",
        ),
    ],
)
def test_what_is_read_as_true_or_false_keeps_the_identity_that_older_runs_know(executor, identity):
    fields = {"name": "t", "description": "d", "parameters": {"type": "object", "properties": {}}}
    spec = build_spec("tools.yaml", "tools[0]", {}, fields | {"executor": executor})
    again = ToolSpec.model_validate_json(spec.model_dump_json())
    for one in (spec, again, pickle.loads(pickle.dumps(spec)), spec.changed(family="f")):
        assert one.executor.as_written() == executor
        assert one.fingerprint == identity


def test_allow_and_hosts_of_all_files_count(tmp_path, shipped):
    for name, hosts in (("a", ["localhost"]), ("b", ["10.0.0.0/8", "localhost"])):
        tools = [{**TOOL, "name": name, "effect": "writes"}]
        content = {"allow": [name], "allow_hosts": hosts, "tools": tools}
        write(tmp_path / f"{name}.yaml", content)
    found = read_tool_files([str(tmp_path)], shipped=shipped)
    assert found.allow == {"a", "b"}
    assert found.allow_hosts == ("localhost", "10.0.0.0/8")


def test_allow_of_an_unknown_tool_is_refused(tmp_path, shipped):
    path = write(tmp_path / "t.yaml", {"allow": ["wether"], "tools": [TOOL]})
    assert "allow names 'wether'" in refusal([path], shipped)
    path = write(tmp_path / "t.yaml", {"allow": "weather", "tools": [TOOL]})
    assert "allow='weather': write a list" in refusal([path], shipped)


def test_what_is_written_reads_back_equal(tmp_path, shipped):
    specs = [
        ToolSpec.model_validate({**TOOL, "name": "read me: ünïcode", "effect": "read_only"}),
        ToolSpec.model_validate(
            {
                **TOOL,
                "name": "yes",
                "effect": "writes",
                "executor": {"kind": "mcp", "tool": "yes", "server": {"name": "w", **SERVER}},
                "secrets": ("WEATHER_TOKEN",),
            }
        ),
        ToolSpec.model_validate({**TOOL, "name": "odd # name", "effect": "unknown"}),
    ]
    for suffix in (".yaml", ".json"):
        path = tmp_path / f"out{suffix}"
        write_tool_specs(specs, path, allow=["odd # name"], allow_hosts=["localhost:8000"])
        found = read_tool_files([str(path)], shipped=shipped)
        for spec in specs:
            again = ToolSpec.model_validate_json(found.specs[spec.name].model_dump_json())
            assert again == spec
            assert again.fingerprint == spec.fingerprint
        assert (found.allow, found.allow_hosts) == ({"odd # name"}, ("localhost:8000",))


def test_what_must_be_confirmed_is_written_as_a_comment(tmp_path, shipped):
    path = tmp_path / "out.yaml"
    specs = list(by_effect().values())
    write_tool_specs(specs, path)
    text = path.read_text()
    assert '# - "destructive"  # destructive\n' in text
    assert '"read_only"' not in text
    assert read_tool_files([str(path)], shipped=shipped).allow == frozenset()
    path.write_text(text.replace('# - "writes"', '- "writes"'))
    assert read_tool_files([str(path)], shipped=shipped).allow == {"writes"}


def test_the_shipped_tools_load_from_the_repository():
    shipped = Path(__file__).parents[2] / "tool_metadata"
    specs = load_tool_specs(["builtin"], shipped=shipped)
    assert allowed_specs(specs, ()) == (specs, {})
    assert len({spec.family for spec in specs.values()}) == 12
    assert len(specs) >= 47
    for spec in specs.values():
        assert len(spec.examples) >= 3
        for name, schema in spec.parameters["properties"].items():
            assert schema.get("description"), (spec.name, name)


@pytest.mark.parametrize("text", ["1e400", ".nan", "-.inf"])
def test_numbers_that_json_does_not_have_are_refused(tmp_path, shipped, text):
    path = tmp_path / "t.yaml"
    path.write_text(
        "tools:\n- {name: t, description: d, executor: {kind: python, target: m:f},\n"
        f"   parameters: {{type: object, properties: {{a: {{type: number, maximum: {text}}}}}}}}}\n"
    )
    assert "properties.a.maximum" in refusal([str(path)], shipped)


SHOWN = {
    *("name", "description", "parameters", "output_schema", "family", "effect", "lenient"),
    *("timeout_seconds", "max_output_chars", "requests_per_minute", "concurrency", "kind"),
    *("target", "convert", "tool", "method", "body_format", "response_path", "host"),
    *("tool_name", "api_name", "category", "function"),
}
NEEDED = {"method": "GET", "server": {"name": "s", "url": "https://x.test/"}}
OF_KINDS = [(kind, field) for kind, model in EXECUTOR_SPECS.items() for field in model.model_fields]


def what_is_said(path, shipped):
    """Return why a file is refused; empty: it is not."""
    try:
        load_tool_specs([path], shipped=shipped)
    except ToolSpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("wrong", ["hunter2", ["hunter2"], {"a": {"b": "hunter2"}}, [["hunter2"]]])
@pytest.mark.parametrize(
    ("kind", "field"), [*OF_KINDS, *(("", field) for field in ToolSpec.model_fields)]
)
def test_a_refusal_shows_no_value_that_may_be_a_secret(tmp_path, shipped, kind, field, wrong):
    needed = {
        name: NEEDED.get(name, "x")
        for name, one in (EXECUTOR_SPECS[kind].model_fields.items() if kind else ())
        if one.is_required()
    }
    given = {"executor": {**needed, "kind": kind, field: wrong}} if kind else {field: wrong}
    # A kind, the name of a server, and an address without where keys stand in it.
    names = isinstance(wrong, str) and field in ("executor", "server", "url")
    message = what_is_said(tool_file(tmp_path, **given), shipped)
    assert "hunter2" not in message or field in SHOWN or names


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"secrets": "hunter2"}, "secrets: Input should be a valid tuple"),
        ({"executor": ["hunter2"]}, "executor=a list: write a mapping"),
        ({"examples": [{"arguments": "hunter2"}]}, "examples[0].arguments: Input should be"),
        (
            {"executor": {"kind": "http", "url": "https://x/y", "query": ["hunter2"]}},
            "executor.query, for 'http': Input should be a valid dictionary",
        ),
        (
            {"executor": {"kind": "http", "url": "https://me:hunter2@{city}/y?key=hunter2"}},
            "executor.url='https://{city}/y': an argument must not decide the host",
        ),
        (
            {
                "executor": {
                    "kind": "http",
                    "url": "https://x/y",
                    "body": ["hunter2"],
                    "body_format": "form",
                }
            },
            "executor.body must be a mapping of the form's fields",
        ),
        (
            {"executor": {"kind": "mcp", "tool": "t", "server": {"name": "s", "args": "hunter2"}}},
            "executor.server.args, for 'mcp': Input should be a valid tuple",
        ),
        (
            {"executor": {"kind": "mcp", "tool": "t", "server": {"name": "s", "stateful": "x"}}},
            "executor.server.stateful='x', for 'mcp': Input should be a valid boolean",
        ),
    ],
)
def test_where_a_value_may_be_a_secret_the_field_is_named(tmp_path, shipped, changes, part):
    message = refusal([tool_file(tmp_path, **changes)], shipped)
    assert part in message
    assert "hunter2" not in message


@pytest.mark.parametrize("field", ["tools", "defaults", "mcpServers", "allow", "allow_hosts"])
@pytest.mark.parametrize("wrong", [[{"a": "hunter2"}], {"a": ["hunter2"]}])
def test_parts_of_a_file_of_another_form_are_not_shown(tmp_path, shipped, field, wrong):
    path = write(tmp_path / "t.yaml", {"tools": [TOOL], field: wrong})
    message = what_is_said(path, shipped)
    assert "hunter2" not in message
    # Of a server that no tool names nothing need be said.
    assert bool(message) != ((field, type(wrong)) == ("mcpServers", dict))
