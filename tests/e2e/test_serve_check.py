"""``ste-ray serve check`` against endpoints that replay what a run recorded, or do not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from aiohttp import web

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Prediction
from ste_ray.llm import given_endpoint, retries
from ste_ray.store.tables import write_records
from tests.checked_run import (
    ODD,
    REQUESTS,
    SETTINGS,
    TOOLS,
    Endpoint,
    make_checked_run,
    recorded,
    serving,
)

N = len(REQUESTS)
CHANGED = {"Double 1": ("double", '{"n": 8}')}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.005)
    monkeypatch.setattr(given_endpoint, "_SECONDS_BETWEEN_ATTEMPTS", (0.01,))


@pytest.fixture
def run(tmp_path):
    return make_checked_run(tmp_path)


@pytest.fixture
def check(run, capsys):
    """Run the command against an endpoint; gives exit code, standard output and error."""

    def checked(endpoint, *arguments, **fields):
        with serving(endpoint if endpoint is not None else Endpoint(**fields)) as served:
            code = main(["serve", "check", served.url, "--run", run.uri, *arguments])
        return code, *capsys.readouterr()

    return checked


def refusal(status, message="no", **headers):
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_model_that_calls_as_recorded_is_equal(run, check, setting):
    before = {path: run.read_bytes(path) for path in run.list()}
    endpoint = Endpoint()
    code, out, _ = check(endpoint, "--setting", setting)
    assert (code, "differs" in out) == (0, False), out
    rows = {line[:22].strip(): line[22:].split() for line in out.splitlines()}
    assert rows["requests"] == ["8", "8", "8"]
    assert rows["calls as recorded"] == [*("8", "of", "8", "(100.0%)")] * 2
    assert rows["right calls"] == [*("4", "of", "6", "(66.7%)")] * 3
    assert rows["needless calls"] == [*("1", "of", "2", "(50.0%)")] * 3
    assert f"equal, streamed: 0 of {N} calls differ" in out
    assert len(endpoint.bodies) == 2 * N
    assert {path: run.read_bytes(path) for path in run.list()} == before


def test_requests_go_as_infer_made_them_and_as_clients_write_them(check):
    endpoint = Endpoint()
    assert check(endpoint, "--setting", "tuned/native", "--stream", "no")[0] == 0
    first, fourth = endpoint.bodies[0], endpoint.bodies[3]
    assert [one["role"] for one in first["messages"]] == ["system", "user"]
    assert "Answer with one call of a tool" in first["messages"][0]["content"]
    assert first["messages"][1]["content"] == "Double 1"
    names = [one["function"]["name"] for one in first["tools"]]
    assert names[:2] == ["double", "note"]
    assert names[2].startswith("Tool_Endpoint_x__")  # a name that function calling takes
    assert [one["function"]["name"] for one in fourth["tools"]] == names[1:]  # its own candidates
    assert (first["max_tokens"], first["temperature"], first["model"]) == (77, 0.0, "served")
    assert "stream" not in first
    assert "stop" not in first


def test_a_model_with_toolkens_gets_the_client_s_own_words(check):
    endpoint = Endpoint()
    assert check(endpoint, "--setting", "tuned/toolken", "--stream", "yes")[0] == 0
    third = endpoint.bodies[2]
    assert third["messages"][1]["content"] == "Double <tool_note> 4"
    assert "Reply with one call" in third["messages"][0]["content"]
    assert len(third["tools"]) == len(TOOLS)
    assert (third["stream"], third["stream_options"]) == (True, {"include_usage": True})


def test_a_prompt_as_text_shows_its_tools_and_is_read_as_text(check):
    endpoint = Endpoint()
    assert check(endpoint, "--setting", "base/retrieved", "--stream", "no")[0] == 0
    body = endpoint.bodies[0]
    assert "tools" not in body
    assert f"Tool: {ODD}" in body["messages"][0]["content"]
    assert body["stop"] == ["\nObservation:"]
    code, _, _ = check(Endpoint(), "--setting", "tuned/toolken", "--tools", "none")
    assert code == 0


@pytest.mark.parametrize(("tools", "sent"), [("all", [3] * N), ("right", [1] * 6 + [3] * 2)])
def test_other_tools_can_be_sent(check, tools, sent):
    endpoint = Endpoint()
    code, out, _ = check(endpoint, "--tools", tools, "--stream", "no")
    assert [len(body["tools"]) for body in endpoint.bodies] == sent
    assert (code, f"tools sent: {tools}" in out) == (0, True)


def test_the_system_message_can_be_left_out(check):
    endpoint = Endpoint()
    assert check(endpoint, "--no-system")[0] == 0
    assert {len(body["messages"]) for body in endpoint.bodies} == {1}


def test_one_changed_argument_is_a_difference_that_is_named(check):
    code, out, err = check(None, changed=CHANGED)
    assert code == 1
    assert "setting 'tuned/native'" in err
    assert (
        'differs, plain: e0 "Double 1"\n'
        '  recorded: double {"n":1} (correct)\n'
        '  served:   double {"n":8} (wrong arguments)\n'
    ) in out
    assert out.count("differs, ") == 2
    assert "different, plain: 1 of 8 calls differ (12.5%; allowed 0.0%), right calls −16.7" in out


@pytest.mark.parametrize(
    ("changed", "options", "code"),
    [
        (CHANGED, ["--tolerance", "0.125"], 1),  # the share of right calls falls by more
        (CHANGED, ["--tolerance", "0.125", "--accuracy-tolerance", "0.17"], 0),
        (CHANGED, ["--tolerance", "0.12", "--accuracy-tolerance", "1"], 1),
        ({"Double 2": ("double", '{"n":5}')}, ["--tolerance", "0.125"], 0),  # was wrong before
        ({"Double 2": ("double", '{"n":2}')}, [], 1),  # better, but not what was recorded
    ],
)
def test_how_much_may_differ(check, changed, options, code):
    assert check(None, *options, changed=changed)[0] == code


def test_answers_without_a_call_are_the_same_whatever_they_say(check):
    assert check(None, changed={"Hello": "Good day.", "Odd 7": "Sorry?"})[0] == 0
    code, out, _ = check(None, "--stream", "no", changed={"Hello": ("double", '{"n":1}')})
    assert code == 1
    assert 'served:   double {"n":1} (needless call)' in out


def test_a_server_that_ignores_tools_is_found_out(check):
    code, out, _ = check(None, "--setting", "tuned/toolken", "--stream", "no", calls_in_text=True)
    assert code == 1
    assert out.count("differs, ") == 6
    assert "served:   malformed: the call stands in the text, not where calls belong" in out


def test_a_call_of_a_tool_that_is_not_there(check):
    code, out, _ = check(None, "--stream", "no", changed={"Odd 6": ("gone", "{}")})
    assert code == 1
    assert "served:   unknown tool 'gone': there is no tool 'gone' (unknown tool)" in out


def test_refusals_for_the_rate_and_broken_streams_are_repeated(check):
    def busy(number, body):
        return refusal(429, **{"Retry-After": "0"}) if number in (1, 4, 5) else None

    endpoint = Endpoint(before=busy, cut_streams=2)
    code, out, _ = check(endpoint)
    assert (code, len(endpoint.bodies)) == (0, 2 * N + 5), out


def test_a_server_that_does_not_count_tokens_or_know_the_field_for_it(check):
    def strict(number, body):
        unknown = "stream_options" in body
        return refusal(422, "Unexpected fields: stream_options") if unknown else None

    endpoint = Endpoint(before=strict, with_usage=False)
    code, out, _ = check(endpoint)
    assert code == 0
    assert len(endpoint.bodies) == 2 * N + 1  # it is asked for once
    assert next(line for line in out.splitlines() if "tokens/s" in line).split()[1:] == ["–", "–"]


def test_a_request_that_is_refused_while_others_are_served_differs(check):
    def picky(number, body):
        asked = body["messages"][-1]["content"]
        return refusal(400, "bad schema") if asked == "Note ü 5" else None

    code, out, _ = check(Endpoint(before=picky), "--stream", "no")
    assert code == 1
    assert out.count("differs, ") == 1
    assert 'e3 "Note ü 5"' in out
    assert "bad schema (error)" in out
    assert next(line for line in out.splitlines() if "not answered" in line).split()[-1] == "1"


def test_recorded_errors_are_left_out_of_the_comparison(run, check):
    found = [
        recorded(number, "tuned/native", error="too long" if number == 0 else "")
        for number in range(N)
    ]
    folder = layout.predictions("tuned-native")
    write_records(run, layout.part(folder, 0), found, Prediction)
    code, out, _ = check(None, "--stream", "no", changed=CHANGED)
    assert code == 0
    assert "0 of 7 calls differ" in out
    only_errors = [recorded(number, "tuned/native", error="too long") for number in range(N)]
    write_records(run, layout.part(folder, 0), only_errors, Prediction)
    code, _, err = check(None)
    assert (code, "nothing to compare with" in err) == (2, True)


def test_machines_get_all_of_it(check, tmp_path):
    file = tmp_path / "found.json"
    options = ["--out", str(file), "--limit", "3", "--concurrency", "4"]
    code, out, _ = check(None, "--json", *options, changed=CHANGED)
    found = json.loads(out)
    assert code == 1
    assert found == json.loads(file.read_text())
    assert (found["equal"], found["model"], found["setting"]) == (False, "served", "tuned/native")
    plain, streamed = found["ways"]
    assert (plain["streamed"], streamed["streamed"]) == (False, True)
    assert [one["same"] for one in plain["replies"]] == [False, True, True]
    assert plain["replies"][0]["served"]["arguments_json"] == '{"n":8}'
    assert plain["first_token"] is None
    assert 0 < streamed["first_token"]["p50"] < streamed["latency"]["p50"]
    assert streamed["completion_tokens"] == 15
    assert streamed["tokens_per_second"] > 0


def test_nobody_answers(run, capsys):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        code = main(["serve", "check", url, "--run", run.uri])
    _, err = capsys.readouterr()
    assert code == 75
    assert f"cannot reach the endpoint {url!r}" in err
    assert "run the same command again later" in err


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_endpoint_that_fails_midway(check, status):
    def failing(number, body):
        return refusal(status) if number > 3 else None

    options = ["llm.patience_seconds=0", "llm.max_attempts=2"]
    code, out, err = check(Endpoint(before=failing), *options)
    assert (code, out) == (75, "")
    assert f"{status} no" in err


def test_a_listing_that_fails_is_not_needed_where_the_model_is_named(check):
    assert check(None, "--model", "served", models=None)[0] == 0
    code, _, err = check(None, models=None)
    assert (code, "no model is named" in err, "--model" in err) == (2, True, True)
    code, _, err = check(None, models=("a", "b"))
    assert (code, "lists 'a', 'b'" in err) == (2, True)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("127.0.0.1:8000/v1", "is no HTTP address"),
        ("ftp://127.0.0.1/v1", "is no HTTP address"),
        ("http://[::1/v1", "is no HTTP address"),
        ("http:///v1", "is no HTTP address"),
    ],
)
def test_bad_addresses(run, capsys, url, told):
    assert main(["serve", "check", url, "--run", run.uri]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--setting", "tuned/nativ"], "did you mean 'tuned/native'"),
        (["--setting", "base/native"], "it has those of base/retrieved, tuned/native"),
        (["--setting", "tuned/native", "--tools", "none"], "calls tools natively"),
        (["--api-key-env", "STE_NO_SUCH_KEY"], "names a variable that holds nothing"),
        (["--out", "/no/such/folder/x.json"], "cannot be written"),
        (["--tolerance", "2"], "is no share"),
        (["--limit", "0"], "no whole number"),
        (["--run", "/no/such/run"], "there is no run"),
    ],
)
def test_mistakes_are_told_before_anybody_is_asked(check, options, told):
    endpoint = Endpoint()
    code, _, err = check(endpoint, *options)
    assert (code, told in err) == (2, True), err
    assert endpoint.bodies == []


def test_a_run_without_answers_of_a_trained_model(tmp_path, capsys):
    run = make_checked_run(tmp_path / "a", ("base/retrieved",))
    assert main(["serve", "check", "http://127.0.0.1:1/v1", "--run", run.uri]) == 2
    assert "--setting: base/retrieved" in capsys.readouterr().err
    run = make_checked_run(tmp_path / "b", ())
    assert main(["serve", "check", "http://127.0.0.1:1/v1", "--run", run.uri]) == 2
    assert "run 'ste-ray infer --run" in capsys.readouterr().err


def test_a_refused_key_and_a_wrong_path(check, monkeypatch):
    monkeypatch.setenv("STE_TEST_KEY", "sk-very-secret")
    endpoint = Endpoint(before=lambda number, body: refusal(401))
    code, _, err = check(endpoint, "--api-key-env", "STE_TEST_KEY")
    assert (code, "STE_TEST_KEY is set but refused" in err) == (2, True)
    assert "sk-very-secret" not in err
    endpoint = Endpoint(before=lambda number, body: refusal(404))
    assert check(endpoint)[0] == 2


def test_ctrl_c_midway_ends_it_at_once(run, tmp_path):
    asked, go_on = threading.Event(), threading.Event()

    def hanging(number, body):
        if number == 3:
            asked.set()
            go_on.wait(20)

    out = tmp_path / "found.json"
    with serving(Endpoint(before=hanging)) as served:
        arguments = ["serve", "check", served.url, "--run", run.uri, "--out", str(out)]
        process = subprocess.Popen(
            [sys.executable, "-m", "ste_ray", *arguments],
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert asked.wait(60)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=20)
        finally:
            go_on.set()
            process.kill()
            process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert (output, out.exists()) == ("", False)
