"""The workflows of GitHub Actions in the documents: their form, and the commands that they run.

GitHub's own schema is not at hand; this holds what it asks for of the parts that are used here.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.docs.blocks import Block, all_blocks
from tests.docs.commands import check_arguments, commands_of

WORKFLOWS = [one for one in all_blocks() if one.mark == "check" and one.words == "workflow"]
# What an expression may name, outside of a step and within one.
CONTEXTS = {"github", "secrets", "vars", "inputs"}
STEP_CONTEXTS = CONTEXTS | {"env", "steps", "runner", "hashFiles", "cancelled", "always", "failure"}
STEP_KEYS = {"name", "uses", "with", "run", "env", "if", "id", "shell", "timeout-minutes"}
JOB_KEYS = {"runs-on", "steps", "env", "timeout-minutes", "permissions", "needs", "if"}
KEYS = {"name", "on", "permissions", "concurrency", "jobs", "env"}
SCOPES = {"contents", "pull-requests", "issues", "checks"}
OF_RUNNER = {"GITHUB_ENV", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"}


class _Loader(yaml.SafeLoader):
    """Reads YAML as GitHub does: ``on`` is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(block: Block) -> Any:
    return yaml.load(block.text, Loader=_Loader)


def steps(workflow: Any) -> list[Any]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def names_in(text: str) -> set[str]:
    """What the expressions of a text name."""
    found = set()
    for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
        plain = re.sub(r"'[^']*'", "", expression)
        found |= set(re.findall(r"(?<![\w.])[a-zA-Z]\w*", plain))
    return found


def test_there_is_one() -> None:
    assert WORKFLOWS


@pytest.mark.parametrize("block", WORKFLOWS, ids=lambda one: one.place)
def test_a_workflow_has_the_form_that_github_reads(block: Block) -> None:
    workflow = read(block)
    assert set(workflow) <= KEYS
    assert set(workflow) >= {"on", "jobs"}
    assert set(workflow["permissions"]) <= SCOPES
    assert set(workflow["permissions"].values()) <= {"read", "write", "none"}
    for job in workflow["jobs"].values():
        assert set(job) <= JOB_KEYS
        assert set(job) >= {"runs-on", "steps"}
    for step in steps(workflow):
        assert set(step) <= STEP_KEYS
        assert ("uses" in step) != ("run" in step), step
        assert "with" not in step or "uses" in step
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))


@pytest.mark.parametrize("block", WORKFLOWS, ids=lambda one: one.place)
def test_expressions_name_what_there_is(block: Block) -> None:
    workflow = read(block)
    within = yaml.safe_dump(steps(workflow))
    for job in workflow["jobs"].values():
        del job["steps"]
    assert names_in(yaml.safe_dump(workflow)) <= CONTEXTS
    assert names_in(within) <= STEP_CONTEXTS
    assert block.text.count("${{") == len(re.findall(r"\$\{\{.*?\}\}", block.text))


@pytest.mark.parametrize("block", WORKFLOWS, ids=lambda one: one.place)
def test_what_a_workflow_runs_is_known(block: Block) -> None:
    workflow = read(block)
    (job,) = workflow["jobs"].values()
    known = OF_RUNNER | set(job.get("env", {}))
    for step in job["steps"]:
        script = step.get("run", "")
        own = known | set(step.get("env", {}))
        assert set(re.findall(r"\$\{?([A-Z_]+)\b", script)) <= own, script
        known |= set(re.findall(r'echo "([A-Z_]+)=.*GITHUB_ENV', script))
        filled = script
        for name, value in job.get("env", {}).items():
            filled = filled.replace(f'"${name}"', f"'{value}'")
        for command in commands_of(filled):
            if command.program == "ste-ray":
                check_arguments(command)


@pytest.mark.parametrize("block", WORKFLOWS, ids=lambda one: one.place)
def test_what_the_gate_writes_is_what_is_shown(block: Block) -> None:
    script = "\n".join(step.get("run", "") for step in steps(read(block)))
    (gate,) = [one for one in commands_of(script) if one.option("--gate")]
    assert f"--body-file {gate.option('--markdown')}" in script
    assert gate.option("--markdown").partition(".")[0] == gate.option("--junit").partition(".")[0]
