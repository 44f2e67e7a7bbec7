"""What ``ste-ray serve`` opens: of its arguments, and of the files of a model's folder."""

from __future__ import annotations

import contextlib
import json
import shutil

import pytest
from tokenizers import AddedToken

from ste_ray.cli.main import main
from ste_ray.core.trained_tools import TOOLS_FILE
from ste_ray.errors import StageInputError
from ste_ray.serving import app
from ste_ray.serving.requests import ChatRequest
from ste_ray.stages.serve import opening
from tests.byte_models import byte_llama, byte_tokenizer
from tests.native_templates import CHANNELS, GEMMA, HERMES, MISTRAL_ARGS
from tests.served_model import GREETING, REPLY, save_served_model, tool
from tests.serving.in_process import asked, opened, reply


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    return save_served_model(tmp_path_factory.mktemp("native"))


@pytest.fixture
def folder(native, tmp_path):
    return shutil.copytree(native, tmp_path / "model")


def test_a_folder_s_beams_and_sequences_do_not_stop_it_from_being_served(folder):
    odd = {
        "num_beams": 4,
        "num_return_sequences": 2,
        "early_stopping": True,
        "return_dict_in_generate": True,
        "output_scores": True,
        "stop_strings": ["Hello"],
        "max_length": 3,
    }
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **odd}))
    with opened(folder) as model:
        choice = asked(model, lambda client: reply(client, GREETING))
    assert (choice.message.content, choice.finish_reason) == (REPLY, "stop")


def test_what_a_folder_says_of_sampling_holds(folder):
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"do_sample": True, "temperature": 1, "top_k": 3}))
    with opened(folder) as model:
        found = model.model.generation_config
    assert (found.do_sample, found.temperature, found.top_k) == (True, 1.0, 3)


@pytest.mark.parametrize("name", ["generation_config.json", TOOLS_FILE])
@pytest.mark.parametrize("text", ["{", "[1]", '{"tools": 3, "temperature": "hot"}'])
def test_files_that_cannot_be_read_are_named(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(StageInputError, match=name) as found, opened(folder):
        pass
    assert "\n" not in str(found.value)


# As later ones of its kind do: the channel comes first, in calls and in answers.
LATE = CHANNELS.replace(
    "<|start|>assistant to=functions.{{ f.name }}<|channel|>commentary json",
    "<|start|>assistant<|channel|>commentary to=functions.{{ f.name }} json",
)
GPT_OSS = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"]
OF_GEMMA = ["<start_of_turn>", "<end_of_turn>", "<start_function_call>", "<end_function_call>"]


@pytest.mark.parametrize(
    ("template", "marks", "banned"),
    [
        (HERMES, ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"], ["<tool_call>"]),
        (MISTRAL_ARGS, ["[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]"], ["[TOOL_CALLS]"]),
        (GEMMA, [*OF_GEMMA, "<escape>"], ["<start_function_call>"]),
        # A call and any other part of a reply begin with the same tokens.
        (CHANNELS, GPT_OSS, []),
        (LATE, GPT_OSS, []),
    ],
)
def test_without_tools_the_token_that_opens_calls_is_banned_and_no_other(
    tmp_path, template, marks, banned
):
    tokenizer = byte_tokenizer(["some text"], 300, template, ("<s>", "</s>"))
    tokenizer.add_tokens([AddedToken(one, special=True) for one in marks])
    tokenizer.save_pretrained(tmp_path)
    byte_llama(tokenizer, num_layers=1).save_pretrained(tmp_path)
    said = [{"role": "user", "content": "x"}]
    with opened(tmp_path) as model:
        plain = model.asked(ChatRequest(model="m", messages=said))
        found = plain.config.suppress_tokens or []
        assert model.tokenizer.convert_ids_to_tokens(found) == banned
        if model.template is not None:
            offering = model.asked(ChatRequest(model="m", messages=said, tools=[tool()]))
            assert not offering.config.suppress_tokens


@pytest.fixture
def targets(monkeypatch):
    """What was to be opened, with its configuration; opening it ends the command."""
    found = []

    def open_model(target, config, say):
        found.append((target.uri, config.infer.use_gpu))
        raise StageInputError("seen")

    monkeypatch.setattr(opening, "open_model", open_model)
    return found


@pytest.mark.parametrize(
    ("arguments", "target", "use_gpu"),
    [
        (["models/mine", "infer.use_gpu=true"], "models/mine", True),
        (["infer.use_gpu=true", "models/mine"], "models/mine", True),
        (["runs/lr=3e-4"], "runs/lr=3e-4", False),
        (["./lr=3e-4", "infer.use_gpu=true"], "./lr=3e-4", True),
        (["s3://bucket/lr=1/run"], "s3://bucket/lr=1/run", False),
        (["lr=3", "infer.use_gpu=true"], "lr=3", True),  # such a folder is there
        (["--run", "runs/lr=3", "infer.use_gpu=true"], "runs/lr=3", True),
    ],
)
def test_a_path_may_hold_an_equals_sign(targets, tmp_path, monkeypatch, arguments, target, use_gpu):
    (tmp_path / "lr=3").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *arguments]) == 2
    assert targets == [(target, use_gpu)]


def test_an_error_of_the_system_while_serving_is_not_blamed_on_the_address(monkeypatch, capsys):
    @contextlib.contextmanager
    def open_model(*_):
        yield type("Served", (), {"model": None, "name": "mine"})

    async def serve(server, host, port, ready):
        ready("http://127.0.0.1:1/v1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opening, "open_model", open_model)
    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr(app, "ModelServer", lambda *_: None)
    code = main(["serve", "anything"])
    told = capsys.readouterr().err
    assert code != 2
    assert "cannot listen" not in told
    assert "No space left" in told
