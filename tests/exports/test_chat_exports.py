"""Exports for TRL and OpenAI, loaded back with the libraries that will read them."""

from __future__ import annotations

import json
import re

import pytest
from exports.prepared_run import HELD_OUT, NAMES, make_run
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import TypeAdapter

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Example, FailedCall
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.store.tables import write_records


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


FAILED = FailedCall(arguments_json='{"a":"one"}', observation="no number")


def with_corrections(store, examples):
    """Let one training example be corrected too, and one test be of recovery."""
    trained = next(one for one in examples if one.split == "train")
    test = next(one for one in examples if one.split == "test")
    corrected = trained.model_copy(update={"failed_calls": (FAILED,)})
    recovery = test.model_copy(
        update={"failed_calls": (FAILED,), "kind": "recovery", "example_id": "recovery"}
    )
    kept = [corrected if one is trained else one for one in examples]
    path = "prepare/examples/part-00000.parquet"
    write_records(store, path, [*kept, recovery], Example)
    return corrected, recovery


def test_openai_rows_of_corrections_have_no_weight_on_the_failed_call(tmp_path):
    store, examples, _ = make_run(tmp_path / "run")
    corrected, recovery = with_corrections(store, examples)
    export("openai", store, tmp_path / "out")
    for split, one in (("train", corrected), ("test", recovery)):
        (row,) = (row for row in lines(tmp_path / "out", split) if len(row["messages"]) == 6)
        user, failed, came_back, call, result, answer = row["messages"]
        assert user["content"] == one.query
        assert failed["weight"] == 0
        assert failed["tool_calls"][0]["function"]["arguments"] == FAILED.arguments_json
        assert came_back["content"] == FAILED.observation
        assert came_back["tool_call_id"] == failed["tool_calls"][0]["id"]
        assert call["tool_calls"][0]["function"]["arguments"] == one.arguments_json
        assert result["tool_call_id"] == call["tool_calls"][0]["id"] != came_back["tool_call_id"]
        assert answer["content"] == one.final_answer
        assert not any("weight" in message for message in (user, call, result, answer))
    asked = [row["messages"][0]["content"] for row in lines(tmp_path / "out", "train")]
    assert asked.count(corrected.query) == 2


@pytest.mark.parametrize("form", ["trl", "hermes", "llamafactory", "axolotl"])
def test_other_forms_have_no_place_for_corrections_and_say_so(tmp_path, form):
    store, examples, _ = make_run(tmp_path / "run")
    with_corrections(store, examples)
    export(form, store, tmp_path / "out")
    told = json.loads((tmp_path / "out/export.json").read_text("utf-8"))
    assert told["left_out"] == {
        "corrections, whose failed calls the form cannot leave out of the loss": 2
    }
    assert "no number" not in (tmp_path / "out/train.jsonl").read_text("utf-8")


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


def described(store, tools):
    """Give tools of the run other descriptions and families."""
    specs = store.read_json(layout.TOOLS)
    for spec in specs:
        if spec["name"] in tools:
            spec["description"], spec["family"] = tools[spec["name"]]
    store.write_json(layout.TOOLS, specs)


def offered(folder, split="train"):
    """Yield of each row with tools the tool that it calls, if any, and those that it offers."""
    for row in lines(folder, split):
        names = [one["function"]["name"] for one in row.get("tools", ())]
        calls = [call for turn in row["messages"] for call in turn.get("tool_calls", ())]
        if names:
            yield calls[0]["function"]["name"] if calls else "", names


@pytest.mark.parametrize("form", ["trl", "openai"])
def test_rows_offer_the_tools_most_like_the_right_one(tmp_path, form):
    store, _, _ = make_run(tmp_path / "run", 40)
    other, long_name = (name for name in NAMES if name not in ("add", "find"))
    described(store, {
        "add": ("Adds two numbers", "a"),
        "find": ("Looks something up", "a"),  # a sibling
        long_name: ("Says which of two numbers is larger", "b"),
        other: ("Weather of a town", "c"),
    })  # fmt: skip
    export(form, store, tmp_path / "out", "--tools-per-row", "2")
    rows = list(offered(tmp_path / "out"))
    assert all(len(set(names)) == 2 and (right or names[0]) in names for right, names in rows)
    of_add = [names for right, names in rows if right == "add"]
    beside = [name for names in of_add for name in names if name != "add"]
    assert len(set(beside)) > 1  # now and then another one than its sibling
    assert beside.count("find") > len(beside) / 2
    assert 5 < sum(names[0] == "add" for names in of_add) < len(of_add) - 5
    export(form, store, tmp_path / "again", "--tools-per-row", "2")
    assert list(offered(tmp_path / "again")) == rows
    export(form, store, tmp_path / "seeded", "--tools-per-row", "2", "--seed", "1")
    assert list(offered(tmp_path / "seeded")) != rows


def test_rows_without_a_call_offer_the_tools_nearest_to_the_request(tmp_path):
    store, _, _ = make_run(tmp_path / "run")
    far, *near = NAMES
    described(store, {name: ("Tells you a secret", "") for name in near} | {far: ("Sums", "")})
    export("trl", store, tmp_path / "out", "--tools-per-row", "1")
    rows = {row["messages"][0]["content"]: row for row in lines(tmp_path / "out", "train")}
    (tool,) = rows["Tell me a secret"]["tools"]
    assert tool["function"]["description"] == "Tells you a secret"  # and not the one held out


@pytest.mark.parametrize(("number", "there"), [("0", 4), ("1", 1), ("8", 4)])
def test_no_more_tools_are_offered_than_there_are(tmp_path, number, there):
    store, _, _ = make_run(tmp_path / "run")
    export("trl", store, tmp_path / "out", "--tools-per-row", number)
    rows = [row for split in ("train", "test") for row in offered(tmp_path / "out", split)]
    assert {right for right, _ in rows} > {"add", "find", ""}
    assert all(len(set(names)) == there for _, names in rows)
    assert all(right in names for right, names in rows if right)
