import pytest
from transformers import AutoTokenizer

from ste_ray.chat_tokens.rendering import INST_TEMPLATE
from ste_ray.core.records import Message, TrainRow
from ste_ray.errors import ConfigError
from ste_ray.store.tables import to_table
from ste_ray.training.chat_format import ChatFormat
from ste_ray.training.examples import ROW_COLUMNS, TOKENISED, RowTokenizer

NO_SYSTEM = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|turn|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def test_the_context_is_the_prompt_of_inference(tokenizer, train_rows):
    for row in train_rows:
        tokenised = RowTokenizer(tokenizer, 256).tokenise(row)
        prompt = tokenizer.apply_chat_template(
            [message.model_dump() for message in row.dialog_history], add_generation_prompt=True
        )
        assert tokenised.input_ids[: tokenised.prompt_tokens] == prompt["input_ids"]


def test_a_table_is_tokenised_as_its_rows_are(tokenizer, train_rows):
    rows = RowTokenizer(tokenizer, 256)
    table = rows.tokenise_table(to_table(train_rows, TrainRow).select(ROW_COLUMNS))
    assert table.schema == TOKENISED
    for row, found in zip(train_rows, table.to_pylist(), strict=True):
        expected = rows.tokenise(row)
        assert found["input_ids"] == expected.input_ids
        assert found["prompt_tokens"] == expected.prompt_tokens
        assert found["num_tokens"] == len(expected.input_ids)
        assert (found["row_id"], found["kind"], found["split"]) == (row.row_id, row.kind, row.split)


def one_row(query, response):
    return TrainRow(
        row_id="r",
        example_id="e",
        tool="t",
        kind="tool_call",
        split="train",
        dialog_history=(
            Message(role="system", content="Be brief."),
            Message(role="user", content=query),
        ),
        response=response,
    )


def fitted(tokenizer, row, max_tokens, too_long):
    table = RowTokenizer(tokenizer, max_tokens, too_long).tokenise_table(to_table([row], TrainRow))
    (found,) = table.to_pylist()
    return found


def test_long_rows_are_skipped_or_truncated_from_the_left_of_the_dialog(tokenizer):
    row = one_row("abc " * 40 + "the end", "Final Answer: yes")
    whole = RowTokenizer(tokenizer, 256).tokenise(row)
    assert fitted(tokenizer, row, 60, "skip")["input_ids"] == []
    assert fitted(tokenizer, row, 60, "skip")["num_tokens"] == len(whole.input_ids)

    cut = fitted(tokenizer, row, 60, "truncate")
    assert cut["truncated"]
    assert len(cut["input_ids"]) == 60
    assert cut["input_ids"][0] == tokenizer.bos_token_id
    assert cut["input_ids"][1:] == whole.input_ids[-59:]
    response = tokenizer.decode(cut["input_ids"][cut["prompt_tokens"] :])
    assert response == row.response + tokenizer.eos_token


def test_a_response_is_never_cut(tokenizer):
    row = one_row("Hi", "yes " * 50)
    assert fitted(tokenizer, row, 60, "truncate")["input_ids"] == []


def test_a_template_without_system_role_gets_it_in_the_first_request(tokenizer):
    tokenizer.chat_template = NO_SYSTEM
    tokenised = RowTokenizer(tokenizer, 256).tokenise(one_row("Hi", "yes"))
    text = tokenizer.decode(tokenised.input_ids[: tokenised.prompt_tokens])
    assert text == f"{tokenizer.bos_token}<|user|>Be brief.\n\nHi<|turn|><|assistant|>"


def test_the_templates_own_end_of_turn_ends_an_answer(tokenizer):
    assert ChatFormat(tokenizer).end_id == tokenizer.eos_token_id
    tokenizer.chat_template = NO_SYSTEM
    assert ChatFormat(tokenizer).end_id == tokenizer.eos_token_id  # <|turn|> is no single token
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    turn = tokenizer.convert_tokens_to_ids("<|turn|>")
    assert ChatFormat(tokenizer).end_id == turn
    assert RowTokenizer(tokenizer, 256).tokenise(one_row("Hi", "yes")).input_ids[-1] == turn


def test_without_a_template_it_is_the_form_of_llama_2(tokenizer, tmp_path):
    from ste_ray.training.tokenizer import load_tokenizer

    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template is None
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.chat_template == INST_TEMPLATE
    tokenised = RowTokenizer(loaded, 256).tokenise(one_row("Hi", "yes"))
    text = loaded.decode(tokenised.input_ids)
    bos, eos = loaded.bos_token, loaded.eos_token
    assert text == f"{bos}[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]yes{eos}"


def test_a_template_that_refuses_everything_is_one_clear_error(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    rows = RowTokenizer(tokenizer, 256)
    with pytest.raises(ConfigError, match=r"refuses a dialog of the roles system, user \(never\)"):
        rows.tokenise(one_row("Hi", "yes"))


@pytest.mark.parametrize(("kind", "tool"), [("no_call", ""), ("no_call", "t"), ("general", "")])
def test_the_beginning_of_a_general_answer_alone_says_that_no_tool_is_called(tokenizer, kind, tool):
    row = one_row("Hi", "Final Answer: hello to you").model_copy(
        update={"kind": kind, "tool": tool}
    )
    whole = RowTokenizer(tokenizer, 256).tokenise(row)
    rows = RowTokenizer(tokenizer, 256, no_call_tokens=3)
    tokenised = rows.tokenise(row)
    (found,) = rows.tokenise_table(to_table([row], TrainRow)).to_pylist()

    begun = kind == "no_call" and not tool
    assert whole.label_tokens > 3
    assert tokenised.label_tokens == (3 if begun else whole.label_tokens)
    assert tokenised.input_ids == whole.input_ids[: len(tokenised.input_ids)]
    assert found["input_ids"] == tokenised.input_ids
    assert found["num_tokens"] == len(tokenised.input_ids)
