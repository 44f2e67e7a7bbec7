"""A FastAPI service is imported from the document it serves itself, and really called."""

import asyncio
import json
import urllib.request

import pytest
from openapi_service import running, service

from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.openapi.executor import OpenApiExecutor
from ste_ray.tools.openapi.operations import import_openapi
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets

SECRETS = Secrets(
    {"API_127_0_0_1_APIKEYHEADER": "canary-key", "API_127_0_0_1_HTTPBEARER": "canary-token"}
)
PET = {"name": "Bo 猫", "colour": "blue", "owner": {"name": "Al", "emails": ["a@b"]}}


@pytest.fixture(scope="module")
def address():
    with running(service()) as url:
        yield url


@pytest.fixture
def imported(address):
    def fetch(url):
        with urllib.request.urlopen(url) as reply:
            return reply.read().decode()

    return import_openapi(f"{address}/openapi.json", fetch=fetch)


@pytest.fixture
def call(imported):
    tools = {spec.name: spec for spec in imported.specs}

    def called(name, /, **arguments):
        spec = tools[name]
        assert ArgumentCheck(spec.parameters).problems(arguments) == []

        async def run():
            executor = OpenApiExecutor(HttpClient(["127.0.0.1"]), SECRETS)
            try:
                await executor.verify([spec])
                return await executor.call(CheckedCall(spec, arguments))
            finally:
                await executor.aclose()

        result = asyncio.run(run())
        assert result.status == "ok", result.text
        return json.loads(result.text)

    return called


def test_what_is_imported(imported):
    effects = {spec.name: spec.effect for spec in imported.specs}
    assert effects == {
        "get_pet": "read_only",
        "get_file": "read_only",
        "add_pet": "writes",
        "put_pet": "writes",
        "add_names": "writes",
        "send_form": "writes",
        "send_album": "writes",
        "delete_pet": "destructive",
        "get_me": "read_only",
    }
    assert [name for name, _ in imported.skipped] == ["POST /photo"]
    add = next(spec for spec in imported.specs if spec.name == "add_pet")
    assert set(add.parameters["required"]) == {"name", "colour", "owner"}
    assert add.output_schema["$defs"].keys() == {"Pet-Output", "Owner"}


def test_path_query_header_and_cookie(call):
    assert call("get_pet", pet_id=7) == {
        "pet_id": 7,
        "colour": "red",
        "tags": None,
        "limit": None,
        "trace": None,
        "session": None,
    }
    given = {"colour": "blue", "tags": ["a b", "c&d", "猫"], "limit": 9, "session": "s-1"}
    answer = call("get_pet", pet_id=7, **given, **{"x-trace": "t 1"})
    assert answer == {"pet_id": 7, **given, "trace": "t 1"}


def test_a_path_in_a_path(call):
    assert call("get_file", path="a/b c/ü.txt") == {"path": "a/b c/ü.txt"}


def test_nested_bodies(call):
    young = {**PET, "young": [{**PET, "weight": 1.5}]}
    answer = call("add_pet", **young)
    assert answer["young"][0]["weight"] == 1.5
    assert answer["owner"] == PET["owner"]
    assert call("put_pet", pet_id=3, pet=PET, note="x")["pet"]["name"] == "Bo 猫"
    assert call("add_names", body=["a", "ü"]) == ["a", "ü"]


def test_forms(call):
    assert call("send_form", name="a&b=ü", kinds=[1, 2]) == {"name": "a&b=ü", "kinds": [1, 2]}
    assert call("send_album", title="ü\r\n") == {"title": "ü\r\n", "photo": False}


def test_secrets_are_sent(call):
    assert call("delete_pet", pet_id=1) == {"deleted": 1, "key": "canary-key"}
    assert call("get_me") == {"token": "canary-token"}


def test_wrong_arguments_are_refused_before_the_call(imported):
    tools = {spec.name: ArgumentCheck(spec.parameters) for spec in imported.specs}
    assert tools["get_pet"].problems({"pet_id": "x"}) != []
    assert tools["get_pet"].problems({"pet_id": 1, "colour": "green"}) != []
    assert tools["get_pet"].problems({"pet_id": 1, "limit": 100}) != []
    assert tools["add_pet"].problems({**PET, "owner": {}}) != []
    assert tools["add_pet"].problems({**PET, "young": [{"name": "x"}]}) != []
    assert tools["add_pet"].problems({**PET, "nickname": "x"}) != []
