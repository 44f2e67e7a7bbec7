"""The secrets of a process, by their names, and that nothing prints or stores them."""

import json
import logging
import sys

import pytest

from ste_ray.cli import main as cli
from ste_ray.config import Config
from ste_ray.errors import EndpointError
from ste_ray.process.environment import environment_masker, environment_secrets
from ste_ray.process.output import masked_output, print_json, say
from ste_ray.stages.base import StageContext
from ste_ray.stages.running import run_stage
from ste_ray.store.artifacts import open_store

KEY = "sk-canary-Zq8vR3xT6wL1pN4mB7"


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "RAY_AUTH_TOKEN",
        "RAY_REDIS_PASSWORD",
        "HF_TOKEN",
        "shop_password",
    ],
)
def test_secrets_are_known_by_their_names(name):
    assert environment_secrets({name: f" {KEY}\n"}) == {KEY: f"[secret {name}]"}


def test_other_variables_are_no_secrets():
    names = ("HOME", "RAY_AUTH_TOKEN_PATH", "AWS_ACCESS_KEY_ID", "KEY_FILE", "TOKENIZERS_DIR")
    assert environment_secrets(dict.fromkeys(names, KEY)) == {}
    words = {"OPENAI_API_KEY": "none", "X_TOKEN": "not-needed", "Y_SECRET": "true"}
    assert environment_secrets(words) == {}
    assert environment_secrets({"LOGIN": KEY}, names=["LOGIN"]) == {KEY: "[secret LOGIN]"}


def test_passwords_in_addresses_are_secrets():
    found = environment_secrets({"HTTPS_PROXY": "http://me:p%40ss1word@proxy:3128"})
    assert found == {
        "p%40ss1word": "[secret HTTPS_PROXY]",
        "p@ss1word": "[secret HTTPS_PROXY]",
    }
    assert environment_secrets({"A": "http://proxy:1", "B": "http://[x@", "C": "a@b://"}) == {}


def test_files_in_the_folder_of_secrets_are_secrets(tmp_path):
    (tmp_path / "SHOP_LOGIN").write_text(f"{KEY}\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    found = environment_secrets({"STE_SECRETS_DIR": str(tmp_path)})
    assert found == {KEY: "[secret SHOP_LOGIN]"}
    assert environment_secrets({"STE_SECRETS_DIR": str(tmp_path / "none")}) == {}


def test_what_is_printed_and_logged_is_masked(monkeypatch, capsys):
    monkeypatch.setenv("SHOP_TOKEN", KEY)
    before = sys.stdout, sys.stderr
    with masked_output():
        say(f"going to {KEY}")
        print(f"result {KEY.upper()}")
        logging.lastResort.handle(logging.makeLogRecord({"msg": f"log {KEY}", "levelno": 40}))
        print_json({"a": [KEY, {"b": 1}], "two\nlines": f'"{KEY}"'})
    assert (sys.stdout, sys.stderr) == before
    out, err = capsys.readouterr()
    mark = "[secret SHOP_TOKEN]"
    assert err == f"going to {mark}\nlog {mark}\n"
    first, _, rest = out.partition("\n")
    assert first == f"result {mark}"
    assert json.loads(rest) == {"a": [mark, {"b": 1}], "two\nlines": f'"{mark}"'}


def test_without_secrets_the_streams_stay_as_they_are(monkeypatch):
    monkeypatch.setattr("os.environ", {})
    stream = sys.stdout
    with masked_output():
        assert sys.stdout is stream


@pytest.mark.parametrize("error", [RuntimeError, EndpointError])
def test_a_command_that_fails_shows_no_secret(monkeypatch, capsys, error):
    monkeypatch.setenv("SHOP_TOKEN", KEY)

    def fail(_):
        try:
            raise ValueError(f"inner {KEY}")
        except ValueError as cause:
            raise error(f"denied: {KEY!r} {KEY.encode().hex()}") from cause

    monkeypatch.setattr(cli, "parse_arguments", fail)
    assert cli.main(["tools", "list", "--json"]) in (1, 2)
    out, err = capsys.readouterr()
    assert "[secret SHOP_TOKEN]" in err
    assert "[secret SHOP_TOKEN]" in json.loads(out)["error"]["message"]
    assert "Traceback" in err or error is EndpointError
    for text in (out, err):
        assert "canary" not in text
        assert KEY.encode().hex()[:16] not in text


def test_no_failure_and_no_manifest_holds_a_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("SHOP_TOKEN", KEY)
    monkeypatch.setenv("MY_LOGIN", KEY[::-1])
    config = Config.model_validate({"llm": {"api_key_env": "MY_LOGIN"}})
    context = StageContext(config=config, store=open_store(str(tmp_path)), progress=print)

    def fail(_):
        raise EndpointError(f"refused {KEY} and {KEY[::-1]}")

    with pytest.raises(EndpointError) as caught:
        run_stage("explore", context, fail)
    stored = (tmp_path / "explore/failure.json").read_text()
    for text in (str(caught.value), stored):
        assert "refused [secret SHOP_TOKEN] and [secret MY_LOGIN]" in text

    def note(context):
        context.notes.append(f"it said {KEY}")
        return {}

    manifest = run_stage("explore", context, note)
    assert manifest.notes == ("it said [secret SHOP_TOKEN]",)
    assert environment_masker()
