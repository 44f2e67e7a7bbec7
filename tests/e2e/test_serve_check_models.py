"""A model that was taught by heart and served: ``serve check`` finds what ``infer`` recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.cli.main import main
from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import parse_settings
from ste_ray.core.preparing.formatting import native_dialog
from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import Message, MessageCall, Prediction
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.replies.conversation import assistant_message
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import load_model
from ste_ray.generation.predict import Predictor
from ste_ray.llm.local_server import running_local_model
from ste_ray.stages.base import StageContext, load_prompts
from ste_ray.stages.infer.queries import load_queries
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import write_records
from ste_ray.training.native_form import give_tools
from tests.byte_models import byte_llama, byte_tokenizer, learn_by_heart
from tests.checked_run import REQUESTS, Call, candidates, make_checked_run, specs
from tests.native_templates import HERMES

(SETTING,) = parse_settings(["tuned/native"])
TOOLS = {spec.name: chat_tool(offered_tool(spec), safe_name(spec.name)) for spec in specs()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run whose model knows the calls of its test requests, with what infer records of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    store = make_checked_run(tmp_path_factory.mktemp("served"), (SETTING.name,))
    folder = Path(store.path(layout.TUNED_MODEL))
    _teach(folder)
    context = StageContext(Config(), store, lambda _: None)
    queries, material = load_queries(context, [SETTING])
    predictor = Predictor(load_model(folder), SETTING, material, Decoding(77), False)
    answered = predictor.answer(queries, predictor.prompts(queries))
    found = [one.prediction for one in answered]
    assert sum(bool(one.calls) for one in found) >= len(REQUESTS) - 2
    path = layout.part(layout.predictions(SETTING.folder_name), 0)
    write_records(store, path, found, Prediction)
    torch.set_num_threads(threads)
    return store


def _teach(folder: Path) -> None:
    tokenizer = byte_tokenizer([json.dumps(TOOLS)] * 3, 400, HERMES, ends=("<s>", "</s>"))
    marks = ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
    tokenizer.add_tokens([AddedToken(one, special="im_" in one) for one in marks])
    give_tools(tokenizer)
    chat = NativeChat(tokenizer, name_of=safe_name)
    rows = []
    for number, (query, _, _, answer) in enumerate(REQUESTS):
        dialog = [*native_dialog(query, (), load_prompts()), _reply(answer)]
        example = chat.example(dialog, [TOOLS[name] for name in candidates(number)])
        rows.append((example.input_ids, example.is_label))
    model = byte_llama(tokenizer, num_layers=1)
    model.generation_config.eos_token_id = sorted({tokenizer.eos_token_id, *chat.stop_ids()})
    learn_by_heart(model, rows, learning_rate=5e-3, steps=400)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _reply(answer: Call) -> Message:
    if isinstance(answer, str):
        return assistant_message(answer)
    name, written = answer
    return assistant_message("", (MessageCall(id="c", name=name, arguments_text=written),))


def test_transformers_serves_what_infer_recorded(
    run: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.path(layout.TUNED_MODEL)
    with running_local_model(folder) as url:
        code = main(["serve", "check", url, "--run", run.uri, "--model", folder])
    out, err = capsys.readouterr()
    assert code == 0, out + err
