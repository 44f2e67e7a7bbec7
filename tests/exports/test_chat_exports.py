"""Exports for TRL and OpenAI, loaded back with the libraries that will read them."""

from __future__ import annotations

import json
import re

import pytest
from exports.prepared_run import HELD_OUT, NAMES, make_run
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import TypeAdapter

from ste_ray.cli.main import main
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.exports.chat import Offers


def export(form, store, out, *options):
    assert main(["export", form, "--run", store.uri, "--out", str(out), *options]) == 0


def lines(folder, split):
    text = (folder / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def by_query(examples, split):
    return {one.query: one for one in examples if one.split == split}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return str(tmp_path / "cache")


def test_trl_rows_come_back_from_datasets_as_they_were(tmp_path, offline):
    from datasets import load_dataset

    store, examples, _ = make_run(tmp_path / "run")
    export("trl", store, tmp_path / "out")
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=offline)
    assert set(loaded) == {"train", "validation", "test"}
    for split in loaded:
        assert list(loaded[split]) == lines(tmp_path / "out", split)
        wanted = by_query(examples, split)
        calls = [row["messages"] for row in loaded[split] if len(row["messages"]) == 4]
        assert len(calls) == len(wanted)
        for user, call, result, answer in calls:
            one = wanted[user["content"]]
            (function,) = (part["function"] for part in call["tool_calls"])
            assert function["arguments"] == json.loads(one.arguments_json)  # no null was added
            assert function["name"] == safe_name(one.tool)
            assert (result["role"], result["content"]) == ("tool", one.observation)
            assert answer == {"role": "assistant", "content": one.final_answer}


def test_many_trl_rows_of_differing_shapes_come_back_as_they_were(tmp_path, offline):
    from datasets import load_dataset

    store, _, _ = make_run(tmp_path / "run", 4000)
    export("trl", store, tmp_path / "out")
    assert (tmp_path / "out/train.jsonl").stat().st_size > 12 * 2**20  # more than one block
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=offline)
    written = lines(tmp_path / "out", "train")
    assert len(loaded) == len(written)
    for at in range(0, len(written), 997):
        assert loaded[at] == written[at]
    assert loaded[len(written) - 1] == written[-1]


TEMPLATE = (
    "{% for tool in tools or [] %}[{{ tool | tojson }}]{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}"
    "CALL {{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


def tokenizer_with_template(texts):
    from ste_ray.training.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts, vocab_size=400, max_positions=4096)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_trl_itself_renders_each_call_as_it_was_made(tmp_path, offline):
    from datasets import load_dataset
    from trl.data_utils import apply_chat_template

    store, examples, _ = make_run(tmp_path / "run")
    export("trl", store, tmp_path / "out")
    tokenizer = tokenizer_with_template(["Request 1 <|user|> CALL"])
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=offline)
    rendered = [apply_chat_template(row, tokenizer, row["tools"])["text"] for row in loaded]
    for one in examples:
        if one.split == "train":
            (text,) = (text for text in rendered if f"<|user|>{one.query}<|" in text)
            match = re.search(r"CALL (\S+) (.*?)<\|tool\|>", text, re.DOTALL)
            assert match is not None
            assert match[1] == safe_name(one.tool)
            assert json.loads(match[2]) == json.loads(one.arguments_json)
            assert match[1] in text[: match.start()]  # the tool is offered


def test_a_trl_trainer_takes_a_step_on_it(tmp_path, offline):
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    from ste_ray.training.config import ModelConfig
    from ste_ray.training.model import build_model

    store, _, _ = make_run(tmp_path / "run")
    export("trl", store, tmp_path / "out", "--tools-per-row", "2")
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=offline)
    tokenizer = tokenizer_with_template(["Request 1 <|user|> CALL"])
    config = ModelConfig(
        vocab_size=400, hidden_size=16, num_layers=1, num_heads=2, max_positions=4096
    )
    settings = SFTConfig(
        output_dir=str(tmp_path / "trained"),
        max_steps=1,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        max_length=512,
    )
    trainer = SFTTrainer(
        model=build_model(config, tokenizer, seed=0),
        args=settings,
        train_dataset=loaded["train"],
        processing_class=tokenizer,
    )
    assert trainer.train().training_loss > 0


def test_openai_rows_are_what_the_client_takes(tmp_path):
    store, examples, _ = make_run(tmp_path / "run")
    export("openai", store, tmp_path / "out")
    message = TypeAdapter(ChatCompletionMessageParam)
    tool = TypeAdapter(ChatCompletionFunctionToolParam)
    num_calls = 0
    for split in ("train", "validation", "test"):
        wanted = by_query(examples, split)
        for row in lines(tmp_path / "out", split):
            for one in row["messages"]:
                message.validate_python(one, strict=True)
            offered = [tool.validate_python(one)["function"] for one in row.get("tools", [])]
            for function in offered:
                assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function["name"])
                assert function["parameters"]["type"] == "object"
                assert "properties" in function["parameters"]
                assert len(function["description"]) <= 1024
            assert len({one["name"] for one in offered}) == len(offered)
            if len(row["messages"]) == 4:
                num_calls += 1
                user, call, result, _ = row["messages"]
                (made,) = call["tool_calls"]
                one = wanted[user["content"]]
                assert made["function"]["arguments"] == one.arguments_json
                assert made["id"] == result["tool_call_id"]
                assert len(made["id"]) <= 40
                assert made["function"]["name"] in {function["name"] for function in offered}
                assert row["parallel_tool_calls"] is False
                assert "content" not in call
    assert num_calls == len(examples)


@pytest.mark.parametrize("form", ["trl", "openai"])
def test_names_can_be_led_back(tmp_path, form):
    store, _, _ = make_run(tmp_path / "run")
    export(form, store, tmp_path / "out")
    names = json.loads((tmp_path / "out/tool_names.json").read_text())
    assert sorted(names.values()) == NAMES
    assert all(safe_name(original) == safe for safe, original in names.items())


@pytest.mark.parametrize("form", ["trl", "openai"])
def test_rows_without_a_call(tmp_path, form):
    store, _, _ = make_run(tmp_path / "run")
    export(form, store, tmp_path / "out")
    rows = {row["messages"][0]["content"]: row for row in lines(tmp_path / "out", "train")}
    general, in_tool_mode = (
        row for row in lines(tmp_path / "out", "train")
        if row["messages"][0]["content"] == "Say <tool_add> in French"
    )  # fmt: skip
    assert general["messages"][1]["content"] == "Je ne <tool_sais> pas"
    assert not general.get("tools")
    assert in_tool_mode["messages"][1]["content"] == "Bonjour"
    assert len(in_tool_mode["tools"]) == len(NAMES)
    absent = rows["Tell me a secret"]
    assert absent["messages"][1]["content"] == "None of my tools can do this."
    assert HELD_OUT not in json.dumps(absent["tools"])


def test_a_call_ends_the_dialog_where_answers_are_not_trained(tmp_path):
    store, _, _ = make_run(tmp_path / "run", 10, "prepare.tool_responses=false")
    export("trl", store, tmp_path / "out")
    calls = [row for row in lines(tmp_path / "out", "train") if "tool_calls" in str(row)]
    assert {len(row["messages"]) for row in calls} == {2}


def test_whole_conversations_hold_all_answers_where_a_share_is_trained(tmp_path):
    store, _, _ = make_run(tmp_path / "run", 10, "prepare.response_fraction=0.2")
    export("trl", store, tmp_path / "out")
    calls = [row for row in lines(tmp_path / "out", "train") if "tool_calls" in str(row)]
    assert calls
    assert {len(row["messages"]) for row in calls} == {4}


def test_a_split_without_rows_has_no_file(tmp_path, offline):
    from datasets import load_dataset

    store, _, _ = make_run(tmp_path / "run", splits=False)
    export("trl", store, tmp_path / "out")
    assert not (tmp_path / "out/test.jsonl").exists()
    assert set(load_dataset(str(tmp_path / "out"), cache_dir=offline)) == {"train"}


class Tools:
    """As much of a source as offers need."""

    def __init__(self, number):
        self.tools = tuple(f"t{n:03}" for n in range(number))

    def spec(self, tool):
        from exports.prepared_run import spec

        return spec(tool)


def offered(offers, key, right=None):
    return [one["function"]["name"] for one in offers.of(key, right)]


def test_offers_hold_the_right_tool_and_others_anywhere():
    offers = Offers(Tools(50), 8, seed=1)
    places = set()
    for number in range(300):
        names = offered(offers, f"row {number}", "t007")
        assert len(set(names)) == 8
        places.add(names.index("t007"))
    assert places == set(range(8))
    assert offered(offers, "x", "t001") == offered(Offers(Tools(50), 8, seed=1), "x", "t001")
    assert offered(offers, "x", "t001") != offered(Offers(Tools(50), 8, seed=2), "x", "t001")
    assert len(offered(offers, "no call")) == 8


@pytest.mark.parametrize(("number", "there"), [(0, 5), (1, 1), (8, 5)])
def test_no_more_tools_are_offered_than_there_are(number, there):
    offers = Offers(Tools(5), number, seed=0)
    names = offered(offers, "x", "t002")
    assert len(names) == there
    assert "t002" in names
    assert len(offered(offers, "x")) == there
