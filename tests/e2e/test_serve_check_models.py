"""A model that was taught by heart and served: ``serve check`` finds what ``infer`` recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.cli.main import main
from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import parse_settings
from ste_ray.core.preparing.formatting import call_text, native_dialog, toolken_dialog
from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import Message, MessageCall, Prediction
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.replies.conversation import assistant_message
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import TOOLKENS_FILE, toolken
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import load_model
from ste_ray.generation.predict import Predictor
from ste_ray.generation.prompting import encode_dialog
from ste_ray.llm.local_server import running_local_model
from ste_ray.stages.base import StageContext, load_prompts
from ste_ray.stages.infer.queries import load_queries
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import read_records, write_records
from ste_ray.training.export import serve_toolkens
from tests.byte_models import Row, answer_row, byte_llama, byte_tokenizer, learn_by_heart
from tests.checked_run import REQUESTS, TOOLS, Call, candidates, make_checked_run, specs
from tests.native_templates import HERMES, NO_TOOLS
from tests.serve_command import served

OFFERED = {spec.name: chat_tool(offered_tool(spec), safe_name(spec.name)) for spec in specs()}
MARKS = ["<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="module", params=["tuned/native", "tuned/toolken"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run whose model knows the calls of its test requests, with what infer records of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    (setting,) = parse_settings([request.param])
    store = make_checked_run(tmp_path_factory.mktemp("served"), (setting.name,))
    folder = Path(store.path(layout.TUNED_MODEL))
    (_teach_native if setting.is_native else _teach_toolkens)(folder)
    context = StageContext(Config(), store, lambda _: None)
    queries, material = load_queries(context, [setting])
    predictor = Predictor(load_model(folder), setting, material, Decoding(77), False)
    answered = predictor.answer(queries, predictor.prompts(queries))
    found = [one.prediction for one in answered]
    calls = [one.calls if setting.is_native else "Action:" in one.output_text for one in found]
    assert sum(map(bool, calls)) >= len(REQUESTS) - 2
    write_records(store, _predictions(setting.name), found, Prediction)
    torch.set_num_threads(threads)
    return store


def _predictions(setting: str) -> str:
    return layout.part(layout.predictions(setting.replace("/", "-")), 0)


def _teach_native(folder: Path) -> None:
    tokenizer = byte_tokenizer([json.dumps(OFFERED)] * 3, 400, HERMES, ends=("<s>", "</s>"))
    marks = [*MARKS, "<tool_call>", "</tool_call>"]
    tokenizer.add_tokens([AddedToken(one, special="im_" in one) for one in marks])
    give_tools(tokenizer)
    chat = NativeChat(tokenizer, name_of=safe_name)
    rows = []
    for number, (query, _, _, answer) in enumerate(REQUESTS):
        dialog = [*native_dialog(query, (), load_prompts()), _reply(answer)]
        example = chat.example(dialog, [OFFERED[name] for name in candidates(number)])
        rows.append((example.input_ids, example.is_label))
    _taught(folder, tokenizer, rows, sorted({tokenizer.eos_token_id, *chat.stop_ids()}))


def _teach_toolkens(folder: Path) -> None:
    prompts = load_prompts()
    system = prompts.render("act_system")
    tokenizer = byte_tokenizer([json.dumps(OFFERED), system], 400, NO_TOOLS, ends=("<s>", "</s>"))
    tokenizer.add_tokens([AddedToken(one, special=True) for one in MARKS])
    tokenizer.add_tokens([AddedToken(toolken(name), special=False) for name in TOOLS])
    serve_toolkens(tokenizer, TOOLS, system)
    end = tokenizer.convert_tokens_to_ids(MARKS[1])
    rows = []
    for query, _, _, answer in REQUESTS:
        text = f"Final Answer: {answer}" if isinstance(answer, str) else _call(*answer)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        prompt = encode_dialog(toolken_dialog(query, prompts), tokenizer)
        rows.append(answer_row(prompt, [*ids, end]))
    _taught(folder, tokenizer, rows, [tokenizer.eos_token_id, end])
    ids = {name: tokenizer.convert_tokens_to_ids(toolken(name)) for name in TOOLS}
    (folder / TOOLKENS_FILE).write_text(json.dumps({"tools": ids, "retired": []}), "utf-8")


def _call(name: str, written: str) -> str:
    return call_text(toolken(name), json.dumps(json.loads(written), separators=(",", ":")))


def _taught(folder: Path, tokenizer: Any, rows: list[Row], ends: list[int]) -> None:
    model = byte_llama(tokenizer, num_layers=1)
    model.generation_config.eos_token_id = ends
    learn_by_heart(model, rows, learning_rate=5e-3, steps=400)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _reply(answer: Call) -> Message:
    if isinstance(answer, str):
        return assistant_message(answer)
    name, written = answer
    return assistant_message("", (MessageCall(id="c", name=name, arguments_text=written),))


def _setting(run: RunStore) -> str:
    has_toolkens = run.exists(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}")
    return "tuned/toolken" if has_toolkens else "tuned/native"


@contextmanager
def _recorded_otherwise(run: RunStore) -> Iterator[None]:
    """Let the run's record of the first request hold another call meanwhile."""
    path = _predictions(_setting(run))
    before = run.read_bytes(path)
    first, *others = read_records(run, path, Prediction)
    call = MessageCall(id="c", name="double", arguments_text='{"n": 8}')
    changed = {"calls": (call,)} if first.native else {"output_text": _call("double", '{"n": 8}')}
    write_records(run, path, [first.model_copy(update=changed), *others], Prediction)
    try:
        yield
    finally:
        run.write_bytes(path, before)


def test_ste_ray_serves_what_infer_recorded_and_what_is_not_so_is_found(
    run: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with served("--run", run.uri) as (_, ready):
        check = ["serve", "check", ready["url"], "--run", run.uri]
        code = main([*check, "--concurrency", "3"])
        out, err = capsys.readouterr()
        assert code == 0, out + err
        assert f"setting {_setting(run)!r}" in err
        assert f"equal, plain: 0 of {len(REQUESTS)} calls differ" in out
        assert f"equal, streamed: 0 of {len(REQUESTS)} calls differ" in out
        with _recorded_otherwise(run):
            code = main(check)
        out, err = capsys.readouterr()
        assert code == 1, out + err
        for way in ("plain", "streamed"):
            assert (
                f'differs, {way}: e0 "Double 1"\n'
                '  recorded: double {"n":8} (wrong arguments)\n'
                '  served:   double {"n":1} (correct)\n'
            ) in out
        assert out.count("differs, ") == 2


@pytest.mark.parametrize("run", ["tuned/native"], indirect=True)
def test_transformers_serves_what_infer_recorded(
    run: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.path(layout.TUNED_MODEL)
    with running_local_model(folder) as url:
        code = main(["serve", "check", url, "--run", run.uri, "--model", folder])
    out, err = capsys.readouterr()
    assert code == 0, out + err
