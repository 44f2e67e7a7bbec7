"""A model folder is served as an endpoint, or refused before anything is started."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tiny_model import save_tiny_model

from ste_ray.errors import ConfigError, EndpointError
from ste_ray.llm import local_server
from ste_ray.llm.local_server import check_model_folder, running_local_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny llama")


@pytest.fixture
def look_alike(tmp_path):
    """A folder with all the names of a model's files."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text("{}")
    return folder


def ask(url, **body):
    request = urllib.request.Request(
        f"{url}/chat/completions",
        json.dumps({"messages": [{"role": "user", "content": "Hello?"}], **body}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        return json.load(response)


def ended(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def children():
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "ste_ray.llm.local_server_process" in child.cmdline()
    ]


@pytest.mark.slow
def test_a_model_folder_is_served_and_gone_afterwards(model_folder, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be asked
    with running_local_model(str(model_folder), start_seconds=120) as url:
        (server,) = children()
        fields = {"model": str(model_folder), "max_tokens": 12, "temperature": 1.0}
        with ThreadPoolExecutor(4) as pool:
            stops = [["Observation:"], ["Thought:"], ["\n\n"], ["Observation:"]]
            replies = list(pool.map(lambda stop: ask(url, stop=stop, **fields), stops))
        for reply in replies:
            assert reply["choices"][0]["finish_reason"] in ("length", "stop")
            assert isinstance(reply["choices"][0]["message"]["content"], str)
            assert 0 < reply["usage"]["completion_tokens"] <= 12
            assert reply["usage"]["prompt_tokens"] > 3
        assert any(reply["choices"][0]["message"]["content"].strip() for reply in replies)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/models") as response:
            assert json.load(response)["data"] == []
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(url, model="another", max_tokens=1)
    assert not server.is_running()
    with pytest.raises(urllib.error.URLError):
        ask(url, **fields)


@pytest.mark.slow
def test_the_server_dies_with_the_process_that_opened_it(model_folder):
    script = (
        "import sys, time\n"
        "from ste_ray.llm.local_server import running_local_model\n"
        "with running_local_model(sys.argv[1], start_seconds=120) as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(model_folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout.readline().startswith("http://127.0.0.1:")
        (server,) = psutil.Process(parent.pid).children()
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_until(lambda: ended(server.pid))


@pytest.mark.slow
def test_a_folder_that_cannot_be_loaded_is_refused_with_what_the_server_said(look_alike):
    (look_alike / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(EndpointError) as caught, running_local_model(str(look_alike)):
        pass
    message = str(caught.value)
    assert "the server ended with status 1" in message
    said = message.partition("it said: ")[2]
    assert len(said) > 40  # the end of the server's own words
    assert "\n" not in message
    assert not children()


def test_a_server_that_does_not_answer_in_time_is_ended(look_alike, monkeypatch):
    def sleeper(*_):
        return [sys.executable, "-c", "import time; print('loading', flush=True); time.sleep(600)"]

    started = []

    class Remembered(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self.pid)

    monkeypatch.setattr(local_server, "_command", sleeper)
    monkeypatch.setattr(subprocess, "Popen", Remembered)
    error = r"did not answer within 0\.3 s; .* it said: (loading|nothing)"
    with (
        pytest.raises(EndpointError, match=error),
        running_local_model(str(look_alike), start_seconds=0.3),
    ):
        pass
    assert [ended(pid) for pid in started] == [True]


@pytest.mark.parametrize(
    ("missing", "part"),
    [
        ("config.json", "has no 'config.json' (the model's configuration)"),
        ("model.safetensors", "has no '*.safetensors' (the model's weights)"),
        ("tokenizer.json", "has no 'tokenizer.json' (the model's tokenizer)"),
        ("chat_template.jinja", "a chat template; give a model that was tuned for chat"),
    ],
)
def test_an_incomplete_folder_is_refused_before_a_server_is_started(
    look_alike, monkeypatch, missing, part
):
    check_model_folder(str(look_alike))
    (look_alike / missing).unlink()
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(ConfigError) as caught, running_local_model(str(look_alike)):
        pass
    assert part in str(caught.value)
    assert f"llm.local_model={str(look_alike)!r}" in str(caught.value)


def test_a_template_may_stand_in_the_tokenizer_s_configuration(look_alike):
    (look_alike / "chat_template.jinja").unlink()
    for content in ("{}", "[]", "{", '{"chat_template": ""}'):
        (look_alike / "tokenizer_config.json").write_text(content)
        with pytest.raises(ConfigError, match="a chat template"):
            check_model_folder(str(look_alike))
    (look_alike / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    check_model_folder(str(look_alike))


@pytest.mark.parametrize("folder", ["nowhere", "meta/model", "", "a@b"])
def test_what_is_no_folder_is_refused(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path("a@b").mkdir()
    with pytest.raises(ConfigError, match=r"is no folder|holds '@' or ':'"):
        check_model_folder(folder)


def test_missing_packages_are_named(look_alike, monkeypatch):
    find = local_server.importlib.util.find_spec
    monkeypatch.setattr(
        local_server.importlib.util,
        "find_spec",
        lambda name: None if name == "uvicorn" else find(name),
    )
    with (
        pytest.raises(ConfigError, match=r"needs uvicorn; run pip install 'ste-ray\[serve\]'"),
        running_local_model(str(look_alike)),
    ):
        pass


def test_an_address_of_another_machine_is_refused(look_alike):
    with (
        pytest.raises(EndpointError, match=r"cannot listen at '192\.0\.2\.1'"),
        running_local_model(str(look_alike), "192.0.2.1"),
    ):
        pass
