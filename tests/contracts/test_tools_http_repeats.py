"""Services that are busy are asked again, if that changes nothing and there is time for it."""

import email.utils
import time

import pytest
from http_calls import SECRETS, declared, executor_test

from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.http.executor import HttpExecutor
from ste_ray.tools.run.executor import CheckedCall


def busy(server, times=1, status=429, after=None, spec=None, method="GET"):
    """A tool whose service is busy for the first calls."""
    query = {"times": times, "status": status} | ({} if after is None else {"after": after})
    return declared(f"http://{server.host}/busy", query=query, method=method, spec=spec)


@pytest.mark.parametrize("effect", ["read_only", "idempotent"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(effect, status):
    async def run(server, executor):
        spec = busy(server, 2, status, "0", {"effect": effect})
        result = await executor.call(CheckedCall(spec, {}))
        assert (result.status, result.text) == ("ok", '{"after": 2}')
        assert len(server.requests) == 3

    executor_test(run)


def test_a_busy_service_is_asked_three_times_at_most():
    async def run(server, executor):
        result = await executor.call(CheckedCall(busy(server, 9, after="0"), {}))
        assert result.status == "error"
        assert result.text == "HTTP 429 Too Many Requests: busy"
        assert len(server.requests) == 3

    executor_test(run)


@pytest.mark.parametrize("effect", ["writes", "destructive", "unknown"])
def test_what_may_change_something_is_sent_once(effect):
    async def run(server, executor):
        spec = busy(server, after="0", spec={"effect": effect}, method="POST")
        assert (await executor.call(CheckedCall(spec, {}))).status == "error"
        assert len(server.requests) == 1

    executor_test(run)


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_other_errors_are_not_repeated(status):
    async def run(server, executor):
        result = await executor.call(CheckedCall(busy(server, status=status, after="0"), {}))
        assert result.text.startswith(f"HTTP {status} ")
        assert len(server.requests) == 1

    executor_test(run)


def test_a_wait_is_as_long_as_the_service_says():
    async def run(server, executor):
        # Dates know whole seconds only: what is two seconds off may be one second away.
        after = email.utils.formatdate(int(time.time()) + 2, usegmt=True)
        result = await executor.call(CheckedCall(busy(server, after=after), {}))
        assert result.status == "ok"
        assert 0.5 <= result.seconds < 8

    executor_test(run)


@pytest.mark.parametrize("after", ["3600", "11", "Fri, 31 Dec 2999 23:59:59 GMT", "9" * 400])
def test_a_wait_that_does_not_fit_is_not_begun(after):
    async def run(server, executor):
        started = time.monotonic()
        spec = busy(server, after=after, spec={"timeout_seconds": 10.0})
        result = await executor.call(CheckedCall(spec, {}))
        assert result.text.startswith("HTTP 429")
        assert time.monotonic() - started < 5
        assert len(server.requests) == 1

    executor_test(run)


@pytest.mark.parametrize("after", ["soon", "-5", "", "nan", "1e9", "Fri, 31 Dec 0001 00:00:00"])
def test_a_wait_that_makes_no_sense_is_short(after):
    async def run(server, executor):
        result = await executor.call(CheckedCall(busy(server, after=after), {}))
        assert result.status == "ok"
        assert 0 <= result.seconds < 5

    executor_test(run)


class NotingClient(HttpClient):
    """Notes how much time each request is given."""

    def __init__(self, allow_hosts):
        super().__init__(allow_hosts)
        self.given = []

    async def send(self, call, *, timeout_seconds, max_bytes):
        self.given.append(timeout_seconds)
        return await super().send(call, timeout_seconds=timeout_seconds, max_bytes=max_bytes)


def test_repeats_share_one_time_limit():
    async def run(server, _):
        client = NotingClient(["127.0.0.1"])
        executor = HttpExecutor(client, SECRETS)
        spec = busy(server, 2, after="1", spec={"timeout_seconds": 20.0})
        result = await executor.call(CheckedCall(spec, {}))
        await executor.aclose()
        assert result.status == "ok"
        assert result.seconds >= 2
        first, second, third = client.given
        assert first == 20.0
        assert second <= first - 1
        assert third <= second - 1

    executor_test(run)
