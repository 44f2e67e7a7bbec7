"""OpenAPI documents become tools: names, arguments, servers, secrets, and what is refused."""

import json

import pytest
import yaml
from openapi_documents import SERVER, body_of, document, imported, operation, tool
from tool_specs import load_tool_specs

from ste_ray.core.executor_spec_parts import OpenApiField
from ste_ray.core.executor_specs import OpenApiOperation
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.openapi.operations import import_openapi
from ste_ray.tools.spec.writing import write_tool_specs

PARAMETER = {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 50}}


def test_an_operation_becomes_a_tool():
    spec = tool(
        path="/pets/{id}",
        operationId="pets/get one",
        summary="Find a pet",
        description="Looks in every cage.",
        parameters=[
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            {**PARAMETER, "description": "How many."},
        ],
    )
    assert spec.name == "pets/get one"
    assert spec.description == "Find a pet.\nLooks in every cage."
    assert spec.effect == "read_only"
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "limit": {"type": "integer", "maximum": 50, "description": "How many."},
        },
        "required": ["id"],
    }
    assert spec.executor.url == f"{SERVER}/pets/{{id}}"
    assert spec.secrets == ()


@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("get", "read_only"),
        ("head", "read_only"),
        ("options", "read_only"),
        ("put", "writes"),
        ("post", "writes"),
        ("patch", "writes"),
        ("delete", "destructive"),
    ],
)
def test_the_method_tells_the_effect(method, effect):
    assert tool(method).effect == effect


def test_names_are_made_up_kept_apart_and_cleaned():
    paths = {
        "/a/{id}/b": {"get": {}},
        "/x": {"get": {"operationId": "same"}, "post": {"operationId": "same"}},
        "/y": {"get": {"operationId": " odd\n<name> "}},
    }
    names = [spec.name for spec in imported(document(paths), prefix="shop.").specs]
    assert names == ["shop.get_a_id_b", "shop.same", "shop.same_2", "shop.odd__name_"]


def test_a_description_is_never_empty_nor_endless():
    assert tool().description == "GET /pets"
    long = tool(description="word " * 1000).description
    assert len(long) <= 1000
    assert long.endswith("word…")
    assert tool(summary="Old", deprecated=True).description == "(deprecated) Old"


def test_parameters_of_the_path_are_overridden_by_those_of_the_operation():
    paths = operation(path="/pets/{id}", parameters=[{**PARAMETER, "required": True}])
    paths["/pets/{id}"]["parameters"] = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
        {"name": "limit", "in": "query", "schema": {"type": "string"}},
        {"name": "gone", "in": "path", "required": True, "schema": {"type": "string"}},
    ]
    (spec,) = imported(document(paths)).specs
    assert spec.parameters["properties"]["limit"]["type"] == "integer"
    assert spec.parameters["required"] == ["id", "limit"]
    assert list(spec.parameters["properties"]) == ["id", "limit"]


def test_a_path_parameter_that_is_not_described_is_text():
    spec = tool(path="/pets/{name}")
    assert spec.parameters["properties"] == {"name": {"type": "string"}}
    assert spec.parameters["required"] == ["name"]


def test_names_that_clash_tell_their_place():
    spec = tool(
        "post",
        "/pets/{id}",
        parameters=[
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "id", "in": "query", "schema": {"type": "integer"}},
            {"name": "id", "in": "header", "schema": {"type": "boolean"}},
        ],
        requestBody=body_of({"type": "object", "properties": {"id": {"type": "number"}}}),
    )
    assert {name: one["type"] for name, one in spec.parameters["properties"].items()} == {
        "id": "string",
        "id_query": "integer",
        "id_header": "boolean",
        "id_body": "number",
    }
    assert spec.executor.body.fields == {"id_body": "id"}


def test_headers_that_the_client_sets_are_no_arguments():
    names = ["Accept", "content-type", "AUTHORIZATION", "X-Trace"]
    listed = [{"name": name, "in": "header", "schema": {"type": "string"}} for name in names]
    assert list(tool(parameters=listed).parameters["properties"]) == ["X-Trace"]


def test_the_fields_of_an_object_are_arguments_of_their_own():
    schemas = {
        "Named": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
        },
        "Pet": {
            "allOf": [
                {"$ref": "#/components/schemas/Named"},
                {
                    "properties": {
                        "id": {"type": "integer", "readOnly": True},
                        "friend": {"$ref": "#/components/schemas/Pet"},
                    },
                    "required": ["id", "friend"],
                },
            ]
        },
    }
    reference = {"$ref": "#/components/schemas/Pet"}
    spec = tool("post", schemas=schemas, requestBody=body_of(reference))
    assert list(spec.parameters["properties"]) == ["name", "friend"]
    assert spec.parameters["required"] == ["name", "friend"]
    check = ArgumentCheck(spec.parameters)
    friend = {"name": "Bo", "friend": {"name": "Al", "friend": {}}}
    assert check.problems({"name": "Cy", "friend": friend}) != []
    assert (
        "'friend' is a required property"
        in check.problems({"name": "C", "friend": {"name": "B"}})[0]
    )
    assert check.problems({"name": "Cy", "friend": {"name": 7, "friend": None}}) != []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {}}, "oneOf": [{"properties": {"b": {}}}]},
    ],
)
def test_other_bodies_are_one_argument(schema):
    spec = tool("post", requestBody=body_of(schema))
    assert list(spec.parameters["properties"]) == ["body"]
    assert spec.parameters["required"] == ["body"]
    assert spec.executor.as_written()["body"] == {
        "content_type": "application/json",
        "argument": "body",
    }


def test_a_body_that_may_be_left_out_but_not_in_part_stays_whole():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    spec = tool("post", requestBody=body_of(schema, required=False))
    assert "required" not in spec.parameters
    assert ArgumentCheck(spec.parameters).problems({}) == []
    assert ArgumentCheck(spec.parameters).problems({"body": {}}) != []


def test_json_is_preferred_and_other_content_is_text():
    json_body, xml = {"schema": {"type": "array"}}, {"schema": {"type": "object"}}
    content = {"application/xml": xml, "application/json; charset=utf-8": json_body}
    spec = tool("post", requestBody={"content": content})
    assert spec.executor.body.content_type == "application/json"
    spec = tool("post", requestBody={"content": {"application/xml": xml}})
    assert spec.executor.as_written()["body"] == {
        "content_type": "application/xml",
        "argument": "body",
    }
    assert spec.parameters["properties"]["body"]["type"] == "string"


def test_files_are_left_out_or_make_an_operation_unusable():
    fields = {
        "photo": {"type": "string", "format": "binary"},
        "more": {"type": "array", "items": {"type": "string", "contentMediaType": "image/png"}},
        "note": {"type": "string"},
    }
    schema = {"type": "object", "properties": fields, "required": ["note"]}
    body = body_of(schema, content_type="multipart/form-data")
    assert list(tool("post", requestBody=body).parameters["properties"]) == ["note"]
    schema = {**schema, "required": ["photo"]}
    paths = operation("post", requestBody=body_of(schema, content_type="multipart/form-data"))
    result = imported(document({**paths, **operation(path="/other")}))
    assert len(result.specs) == 1
    assert result.skipped == [
        ("POST /pets", "the field 'photo' takes a file, and files are not sent")
    ]


def test_the_answer_is_described_unless_that_takes_too_much_room():
    def answering(schema):
        content = {"application/json": {"schema": schema}}
        return tool(responses={"404": {}, "201": {"description": "", "content": content}})

    assert answering({"type": "string"}).output_schema == {"type": "string"}
    many = {f"property number {i}": {"type": "string"} for i in range(1000)}
    assert answering({"type": "object", "properties": many}).output_schema is None
    assert answering({"$ref": "#/components/schemas/None"}).output_schema is None
    assert tool().output_schema is None


def secured(schemes, security, title="Pet Shop API", **fields):
    root = {"components": {"securitySchemes": schemes}, "info": {"title": title, "version": "1"}}
    contents = document(operation(security=security, **fields), **root)
    return imported(contents)


KEY = {"type": "apiKey", "in": "header", "name": "X-Key"}
BEARER = {"type": "http", "scheme": "Bearer"}
BASIC = {"type": "http", "scheme": "basic"}


@pytest.mark.parametrize(
    ("scheme", "field", "entry"),
    [
        (KEY, "headers", {"X-Key": "${API_EXAMPLE_ORG_IT}"}),
        ({**KEY, "in": "query", "name": "key"}, "query", {"key": "${API_EXAMPLE_ORG_IT}"}),
        ({**KEY, "in": "cookie", "name": "sid"}, "cookies", {"sid": "${API_EXAMPLE_ORG_IT}"}),
        (BEARER, "headers", {"Authorization": "Bearer ${API_EXAMPLE_ORG_IT}"}),
        (BASIC, "headers", {"Authorization": "Basic ${API_EXAMPLE_ORG_IT}"}),
        (
            {"type": "openIdConnect", "openIdConnectUrl": "https://id.example.org"},
            "headers",
            {"Authorization": "Bearer ${API_EXAMPLE_ORG_IT}"},
        ),
        (
            {"type": "oauth2", "flows": {}},
            "headers",
            {"Authorization": "Bearer ${API_EXAMPLE_ORG_IT}"},
        ),
    ],
)
def test_security_schemes_become_named_secrets(scheme, field, entry):
    result = secured({"it": scheme}, [{"it": []}])
    (spec,) = result.specs
    assert getattr(spec.executor, field) == entry
    assert spec.secrets == ("API_EXAMPLE_ORG_IT",)
    assert result.notes[0].startswith("API_EXAMPLE_ORG_IT holds ")


def test_the_first_alternative_that_can_be_fulfilled_counts():
    schemes = {"tls": {"type": "mutualTLS"}, "key": KEY, "token": BEARER}
    (spec,) = secured(schemes, [{"tls": []}, {"unknown": []}, {"key": [], "token": []}]).specs
    assert spec.secrets == ("API_EXAMPLE_ORG_KEY", "API_EXAMPLE_ORG_TOKEN")
    (spec,) = secured(schemes, [{}, {"key": []}]).specs
    assert spec.secrets == ()
    with pytest.raises(ToolSpecError, match="mutualTLS"):
        secured(schemes, [{"tls": []}])


def test_a_scheme_that_cannot_be_read_spoils_its_operations_only():
    schemes = {
        "bad": 7,
        "odd": {"type": "apiKey", "in": "header", "name": "a\r\nb"},
        "token": {"type": "oauth2", "flows": {"password": {"tokenUrl": "token"}}},
        "same": {"$ref": "#/components/securitySchemes/token"},
    }
    paths = {}
    for name in schemes:
        paths |= operation(path=f"/{name}", security=[{name: []}])
    result = imported(document(paths, components={"securitySchemes": schemes}))
    assert [spec.name for spec in result.specs] == ["get_token", "get_same"]
    assert result.specs[1].secrets == ("API_EXAMPLE_ORG_SAME",)
    assert [name for name, _ in result.skipped] == ["GET /bad", "GET /odd"]


def test_the_security_of_the_document_counts_unless_the_operation_says_otherwise():
    paths = {**operation(path="/a"), **operation(path="/b", security=[])}
    root = {"components": {"securitySchemes": {"key": KEY}}, "security": [{"key": []}]}
    first, second = imported(document(paths, **root)).specs
    assert (first.secrets, second.secrets) == (("API_EXAMPLE_ORG_KEY",), ())


def test_a_parameter_that_a_secret_stands_for_is_no_argument():
    parameter = {"name": "x-key", "in": "header", "required": True, "schema": {"type": "string"}}
    (spec,) = secured({"key": KEY}, [{"key": []}], parameters=[parameter]).specs
    assert spec.parameters["properties"] == {}


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("https://petstore.example/v1", "PETSTORE_EXAMPLE_API_KEY"),
        ("https://3d.example:8443", "API_3D_EXAMPLE_API_KEY"),
        ("http://[::1]:8000", "API_1_API_KEY"),
    ],
)
def test_secrets_are_named_after_the_host_that_gets_them(server, name):
    for title in ("OpenAI", ""):  # what a document calls itself is of no account
        root = {
            "components": {"securitySchemes": {"api_key": KEY}},
            "info": {"title": title, "version": "1"},
            "servers": [{"url": server}],
        }
        (spec,) = imported(document(operation(security=[{"api_key": []}]), **root)).specs
        assert spec.secrets == (name,)


def test_a_document_cannot_ask_for_other_secrets():
    parameter = {"name": "${HOME}", "in": "query", "schema": {"type": "string"}}
    paths = {
        **operation(path="/a/${AWS_KEY}"),
        **operation(path="/b", parameters=[parameter]),
        **operation(path="/c", servers=[{"url": "https://${USER}.example.org"}]),
        **operation(path="/d"),
    }
    result = imported(document(paths))
    assert [spec.name for spec in result.specs] == ["get_d"]
    assert len(result.skipped) == 3


@pytest.mark.parametrize(
    ("servers", "source", "base_url", "expected"),
    [
        ([{"url": "https://a.org/v1/"}], "shop.json", "", "https://a.org/v1"),
        ([{"url": "https://a.org/v1"}], "shop.json", "http://h:8/x/", "http://h:8/x"),
        ([{"url": "/v2"}], "https://b.org/docs/o.json", "", "https://b.org/v2"),
        ([{"url": "v2"}], "https://b.org/docs/o.json", "", "https://b.org/docs/v2"),
        ([], "https://b.org/docs/o.json", "", "https://b.org"),
        (
            [
                {
                    "url": "https://{region}.c.org:{port}/v1",
                    "variables": {"region": {"default": "eu"}, "port": {"default": "8443"}},
                }
            ],
            "shop.json",
            "",
            "https://eu.c.org:8443/v1",
        ),
    ],
)
def test_servers(servers, source, base_url, expected):
    contents = document(operation(), servers=servers)
    (spec,) = imported(contents, source, base_url=base_url).specs
    assert spec.executor.url == f"{expected}/pets"


def test_the_nearest_server_counts():
    paths = operation(servers=[{"url": "https://own.org"}])
    paths["/pets"]["servers"] = [{"url": "https://path.org"}]
    paths["/pets"]["put"] = {}
    urls = {spec.effect: spec.executor.url for spec in imported(document(paths)).specs}
    assert urls == {"read_only": "https://own.org/pets", "writes": "https://path.org/pets"}


@pytest.mark.parametrize(
    "server",
    ["/v1", "ftp://a.org", "https://{x}.org", "javascript:alert(1)", "//a.org", "http://[::"],
)
def test_without_an_address_the_option_is_named(server):
    with pytest.raises(ToolSpecError, match="--base-url"):
        imported(document(operation(), servers=[{"url": server}]))


@pytest.mark.parametrize("url", ["example.org", "http://a.org/?x=1", "http://a.org/{v}", "http://"])
def test_another_server_must_be_an_address(url):
    with pytest.raises(ToolSpecError, match="--base-url"):
        imported(document(operation()), base_url=url)


def test_operations_are_chosen_by_tag():
    paths = {**operation(path="/a", tags=["x", "y"]), **operation(path="/b", tags=["z"])}
    assert len(imported(document(paths), include_tags=["y"]).specs) == 1
    with pytest.raises(ToolSpecError, match="'x', 'y', 'z'"):
        imported(document(paths), include_tags=["w"])


def test_one_bad_operation_does_not_spoil_the_others():
    paths = {
        "/ok": {"get": {}, "trace": {}},
        "/bad": {"get": {"parameters": [{"in": "query"}]}, "put": 7, "x-note": 1},
        "/gone": {"$ref": "#/components/pathItems/none"},
        "/style": {"get": {"parameters": [{"name": "a", "in": "query", "style": "matrix"}]}},
        "/break": {"get": {"parameters": [{"name": "a\r\nb", "in": "header"}]}},
        "no-slash": {"get": {}},
        "x-extension": {"get": {}},
    }
    result = imported(document(paths))
    assert [spec.name for spec in result.specs] == ["get_ok"]
    reasons = dict(result.skipped)
    assert set(reasons) == {
        "TRACE /ok", "GET /bad", "PUT /bad", "/gone", "GET /style", "GET /break", "GET no-slash"
    }  # fmt: skip
    assert "name" in reasons["GET /bad"]
    assert "'#/components/pathItems/none'" in reasons["/gone"]
    assert "deepObject" in reasons["GET /style"]
    assert all("\n" not in reason for reason in reasons.values())


def test_files_in_json_and_yaml_with_references_beside_them(tmp_path):
    (tmp_path / "parts").mkdir()
    part = {
        "limit": PARAMETER,
        "item": {"get": {"operationId": "other", "parameters": [{"$ref": "#/limit"}]}},
        "Deep": {"type": "array", "items": {"$ref": "more.yaml#/Leaf"}},
    }
    (tmp_path / "parts/one.yaml").write_text(yaml.safe_dump(part))
    (tmp_path / "parts/more.yaml").write_text("Leaf: {type: object, properties: {a: {type: null}}}")
    body = body_of({"$ref": "parts/one.yaml#/Deep"})
    contents = document(
        {
            "/a": {
                "post": {"parameters": [{"$ref": "./parts/one.yaml#/limit"}], "requestBody": body}
            },
            "/b": {"$ref": "parts/one.yaml#/item"},
        }
    )
    for name, text in (("o.json", json.dumps(contents)), ("o.yml", yaml.safe_dump(contents))):
        (tmp_path / name).write_text(text)
        first, second = import_openapi(str(tmp_path / name)).specs
        assert list(first.parameters["properties"]) == ["limit", "body"]
        assert first.parameters["properties"]["body"]["items"] == {"$ref": "#/$defs/Leaf"}
        assert list(second.parameters["properties"]) == ["limit"]


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("../secret.yaml#/limit", "outside the folder"),
        ("link.yaml#/limit", "outside the folder"),
        ("file:///etc/passwd#/limit", "outside the folder"),
        ("https://example.org/p.yaml#/limit", "outside the document"),
        ("none.yaml#/limit", "cannot be followed"),
        ("#/components/parameters/none", "points at nothing"),
        ("#/components/parameters/loop", "leads in a circle"),
    ],
)
def test_references_that_are_not_followed(tmp_path, reference, reason):
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump({"limit": PARAMETER}))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    loop = {"parameters": {"loop": {"$ref": "#/components/parameters/loop"}}}
    contents = document(operation(parameters=[{"$ref": reference}]), components=loop)
    (folder / "o.json").write_text(json.dumps(contents))
    with pytest.raises(ToolSpecError) as caught:
        import_openapi(str(folder / "o.json"))
    assert repr(reference) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_url_is_read_by_what_the_caller_gives():
    text = json.dumps(document(operation(), servers=[{"url": "/api"}]))
    asked = []
    source = "http://docs.example.org/o.json"
    result = import_openapi(source, fetch=lambda url: asked.append(url) or text)
    assert asked == [source]
    assert result.specs[0].executor.url == "http://docs.example.org/api/pets"
    with pytest.raises(ToolSpecError, match="download"):
        import_openapi(source)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not: [json", "neither JSON nor YAML"),
        ("<html><body>sign in</body></html>", "not an object"),
        ("", "not an object"),
        ('{"swagger": "2.0", "paths": {}}', "convert"),
        ('{"openapi": "2.0"}', "3.0 or 3.1"),
        ('{"openapi": "3.2.0", "paths": {}}', "3.0 or 3.1"),
        ('{"openapi": "3.1.0"}', "paths=None"),
        ('{"openapi": "3.1.0", "paths": {}}', "no operations"),
        ('{"openapi": "3.1.0", "paths": {}, "servers": 7}', "servers=7"),
        ("a: &a [*a]", "holds itself by an alias"),
        ("[" * 100_000, "neither JSON nor YAML"),
    ],
)
def test_what_is_no_usable_document_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "o.json"
    file.write_text(text)
    with pytest.raises(ToolSpecError) as caught:
        import_openapi(str(file))
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_yaml_that_grows_by_repetition_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (tmp_path / "o.yaml").write_text("\n".join(lines))
    with pytest.raises(ToolSpecError, match="aliases make more than"):
        import_openapi(str(tmp_path / "o.yaml"))


def test_a_missing_file_is_named():
    with pytest.raises(ToolSpecError, match=r"'none\.json'"):
        import_openapi("none.json")


def test_the_tools_can_be_written_and_loaded(tmp_path):
    schemas = {"Pet": {"type": "object", "properties": {"p": {"$ref": "#/components/schemas/Pet"}}}}
    body = body_of({"$ref": "#/components/schemas/Pet"})
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}
    root = {"components": {"securitySchemes": {"key": KEY}}, "security": [{"key": []}]}
    spec = tool(
        "post",
        schemas=schemas,
        root=root,
        requestBody=body,
        responses={"200": {"description": "", "content": content}},
    )
    file = tmp_path / "tools.yaml"
    write_tool_specs([spec], file)
    assert load_tool_specs([str(file)], shipped=tmp_path) == {spec.name: spec}


def test_parameters_with_content_and_fields_with_an_encoding_say_how_they_are_written():
    content = [("where", "application/json"), ("csv", "text/plain")]
    schema = {"type": "object", "properties": {name: {} for name in ("a", "b", "c")}}
    encoding = {
        "a": {"style": "deepObject", "explode": True},
        "b": {"contentType": "application/json, text/plain"},
        "c": {"style": "matrix", "explode": "yes", "contentType": "x\r\ny"},
        "other": {"style": "form"},
    }
    media = {"schema": schema, "encoding": encoding}
    spec = tool(
        "post",
        parameters=[
            {"name": name, "in": "query", "content": {kind: {"schema": {}}}}
            for name, kind in content
        ],
        requestBody={"content": {"application/x-www-form-urlencoded": media}},
    )
    fields = OpenApiOperation.model_validate(spec.executor)
    assert [(one.as_json, one.as_text) for one in fields.parameters] == [
        (True, False),
        (False, True),
    ]
    assert fields.body.encoding == {
        "a": OpenApiField(style="deepObject", explode=True),
        "b": OpenApiField(content_type="application/json"),
        "c": OpenApiField(),  # nonsense is left out
    }
