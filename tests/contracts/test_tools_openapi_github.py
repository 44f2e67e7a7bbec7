"""GitHub's full description imports without error, as tools that pass every check."""

import json
from pathlib import Path

import pytest

from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.openapi.operations import import_openapi
from ste_ray.tools.spec.checks import build_spec

DESCRIPTION = (
    Path(__file__).parents[2]
    / ".third-party/node_modules/@octokit/openapi/generated/api.github.com.json"
)
METHODS = ("get", "head", "options", "put", "post", "patch", "delete")
pytestmark = pytest.mark.skipif(
    not DESCRIPTION.exists(), reason="needs the npm package @octokit/openapi: make third-party"
)


@pytest.fixture(scope="module")
def result():
    return import_openapi(str(DESCRIPTION))


def test_every_operation_becomes_a_tool(result):
    paths = json.loads(DESCRIPTION.read_text())["paths"]
    operations = [one[method] for one in paths.values() for method in METHODS if method in one]
    assert len(operations) > 1000
    assert result.skipped == []
    assert [spec.name for spec in result.specs] == [one["operationId"] for one in operations]


def test_every_tool_passes_the_checks(result):
    for spec in result.specs:
        fields = spec.model_dump(mode="json", exclude_defaults=True)
        assert build_spec("github.json", "tools[0]", {}, fields) == spec
        ArgumentCheck(spec.parameters).problems({})


def test_what_a_tool_takes_and_where_it_goes(result):
    tools = {spec.name: spec for spec in result.specs}
    create = tools["issues/create"]
    assert create.effect == "writes"
    assert create.executor.url == "https://api.github.com/repos/{owner}/{repo}/issues"
    assert set(create.parameters["required"]) == {"owner", "repo", "title"}
    check = ArgumentCheck(create.parameters)
    issue = {"owner": "o", "repo": "r", "title": "t", "labels": ["bug"], "assignee": None}
    assert check.problems(issue) == []
    assert check.problems({**issue, "labels": [7], "tilte": "x"}) != []
    upload = tools["repos/upload-release-asset"].executor
    assert upload.url.startswith("https://uploads.github.com/")
