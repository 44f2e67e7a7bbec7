"""Declared requests are really called, refused where they must be, and shown without secrets."""

import asyncio
import json

import pytest
from http_calls import declared, executor_test

from ste_ray.errors import ToolSpecError
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets


def test_a_declared_request_is_sent_and_answered():
    async def run(server, executor):
        spec = declared(
            f"http://{server.host}/cities/{{city}}",
            method="POST",
            query={"units": "{units}"},
            headers={"Authorization": "Bearer ${KEY}"},
            body={"days": "{days}"},
            response_path="{path: path, query: query, body: body, method: method}",
        )
        call = CheckedCall(spec, {"city": "São Paulo/..", "days": [1, 2]})
        result = await executor.call(call)
        assert (result.status, result.source) == ("ok", "called")
        assert json.loads(result.text) == {
            "path": "/cities/S%C3%A3o%20Paulo%2F..",
            "query": [],
            "body": '{"days": [1, 2]}',
            "method": "POST",
        }
        assert server.requests[0].headers["Authorization"] == "Bearer canary-4711"
        assert result.seconds > 0

    executor_test(run)


@pytest.mark.parametrize("value", ["..", "", "."])
def test_arguments_that_cannot_stand_are_refused_before_anything_is_sent(value):
    async def run(server, executor):
        result = await executor.call(
            CheckedCall(declared(f"http://{server.host}/a/{{it}}"), {"it": value})
        )
        assert result.status == "rejected"
        assert server.requests == []

    executor_test(run)


@pytest.mark.parametrize("value", ["../admin", "?a=1", "a/b", "@evil", "${KEY}", "%2e%2e", "a#b"])
def test_a_hostile_argument_arrives_as_one_part_of_the_path(value):
    async def run(server, executor):
        await executor.call(
            CheckedCall(declared(f"http://{server.host}/a/{{it}}/b"), {"it": value})
        )
        path = server.requests[0].path
        assert path.count("/") == 3
        assert path.startswith("/a/")
        assert path.endswith("/b")
        assert server.requests[0].query == ""
        assert "canary" not in path

    executor_test(run)


def test_private_hosts_are_errors_that_name_the_remedy():
    async def run(server, executor):
        spec = declared(f"http://{server.host}/x")
        result = await executor.call(CheckedCall(spec, {}))
        assert result.status == "error"
        assert "tools.allow_hosts" in result.text
        assert server.requests == []
        with pytest.raises(ToolSpecError, match=r"tool 'it'.*tools\.allow_hosts"):
            await executor.verify([spec])

    executor_test(run, allow=())


def test_a_redirect_to_a_private_host_is_an_error():
    async def run(server, executor):
        spec = declared(f"http://{server.host}/redirect", query={"to": "http://169.254.169.254/x"})
        result = await executor.call(CheckedCall(spec, {}))
        assert result.status == "error"
        assert "169.254.169.254" in result.text

    executor_test(run)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/never", "timeout", "within 0.3 seconds"),
        ("/short", "crashed", "could not be reached"),
        ("/drop", "crashed", "could not be reached"),
    ],
)
def test_services_that_fail(path, status, words):
    async def run(server, executor):
        spec = declared(f"http://{server.host}{path}", spec={"timeout_seconds": 0.3})
        result = await executor.call(CheckedCall(spec, {}))
        assert result.status == status
        assert words in result.text
        assert "\n" not in result.text

    executor_test(run)


def test_endless_replies_are_cut():
    async def run(server, executor):
        spec = declared(f"http://{server.host}/endless", spec={"max_output_chars": 25})
        result = await executor.call(CheckedCall(spec, {}))
        assert result.status == "ok"
        assert result.text.startswith(f"{'x' * 25}… [cut")
        await asyncio.wait_for(server.gone.wait(), 10)

    executor_test(run)


def test_a_part_is_found_in_a_reply_that_is_longer_than_what_is_kept():
    async def run(server, executor):
        spec = declared(
            f"http://{server.host}/echo",
            method="POST",
            body={"noise": "{noise}"},
            response_path="method",
            spec={"max_output_chars": 20},
        )
        result = await executor.call(CheckedCall(spec, {"noise": "x" * 500_000}))
        assert (result.status, result.text) == ("ok", "POST")
        too_long = await executor.call(CheckedCall(spec, {"noise": "x" * 5_000_000}))
        assert too_long.status == "error"
        assert len(too_long.text) < 100

    executor_test(run)


def test_secrets_that_are_not_set_are_named_before_anything_is_called():
    async def run(server, executor):
        spec = declared(
            f"http://{server.host}/x", headers={"X": "${GONE}"}, spec={"secrets": ["GONE"]}
        )
        with pytest.raises(ToolSpecError, match="tool 'it': the secret 'GONE' is not set"):
            await executor.verify([spec])
        with pytest.raises(ToolSpecError, match="tool 'it': the secret 'LOST' is not set"):
            await executor.verify([declared(server.url("/x?k=${LOST}"))])  # listed nowhere
        await executor.verify([declared(server.url(), spec={"secrets": ["KEY"]})])
        assert server.requests == []

    executor_test(run)


def test_names_and_secret_hosts_are_not_looked_up_by_verify():
    async def run(_, executor):
        await executor.verify([declared("https://name.invalid/x"), declared("https://${KEY}/x")])
        await executor.verify([declared("https://api.example:${KEY}/x")])  # a port, some day
        with pytest.raises(ToolSpecError, match=r"'it'.*allow_hosts"):
            await executor.verify([declared("https://10.0.0.1:8443/{it}")])
        with pytest.raises(ToolSpecError, match=r"'it'.*allow_hosts"):
            await executor.verify([declared("http://localhost/x")])

    executor_test(run, allow=())


def test_a_preview_shows_the_request_without_secrets():
    async def run(server, executor):
        spec = declared(
            "https://api.example/{it}?key=${KEY}",
            method="POST",
            query={"q": "{q}", "k": "${KEY}"},
            headers={"Authorization": "Bearer ${KEY}"},
            body={"t": "${KEY}", "it": "{it}"},
        )
        line = executor.preview(CheckedCall(spec, {"it": "a b", "q": "x\ny"}))
        assert line.startswith("POST https://api.example/a%20b?key=[secret KEY]&q=x y")
        assert "Authorization: Bearer [secret KEY]" in line
        assert line.count("[secret KEY]") == 4
        assert "canary" not in line
        assert "\n" not in line
        form = declared(
            "https://api.example/", method="POST", body={"t": "${KEY}"}, body_format="form"
        )
        assert executor.preview(CheckedCall(form, {})).endswith(" t=[secret KEY]")
        refused = executor.preview(CheckedCall(spec, {"it": ".."}))
        assert refused.startswith("refused: ")
        assert server.requests == []

    executor_test(run)
    executor_test(run, secrets=Secrets({}))  # what is shown needs no secret


def test_256_calls_at_once():
    async def run(server, executor):
        spec = declared(
            f"http://{server.host}/{{n}}", response_path="path", spec={"timeout_seconds": 60.0}
        )
        calls = [executor.call(CheckedCall(spec, {"n": number})) for number in range(256)]
        results = await asyncio.gather(*calls)
        assert [one.text for one in results] == [f"/{number}" for number in range(256)]

    executor_test(run)


def test_closing_ends_calls_as_crashed():
    async def run(server, executor):
        spec = declared(f"http://{server.host}/never", spec={"timeout_seconds": 60.0})
        task = asyncio.create_task(executor.call(CheckedCall(spec, {})))
        await asyncio.wait_for(server.arrived.wait(), 10)
        await executor.end_episode("an-episode")
        assert not task.done()
        await executor.aclose()
        assert (await asyncio.wait_for(task, 10)).status == "crashed"

    executor_test(run)
