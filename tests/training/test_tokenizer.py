import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from ste_ray.errors import ConfigError
from ste_ray.training.tokenizer import load_tokenizer, train_tokenizer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_a_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("text", ["<0x41>", "<0xC3><0xB6>", "ö<0xC3>", "\x00\x7f", "\U0010ffff"])
def test_text_that_looks_like_the_byte_fallback_stays_text(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_vocabulary_is_bounded_and_the_same_each_time(texts):
    first = train_tokenizer(texts, vocab_size=330, max_positions=64)
    again = train_tokenizer(texts, vocab_size=330, max_positions=64)
    assert len(first) <= 330
    assert first.get_vocab() == again.get_vocab()


def test_values_are_cut_alike_in_query_and_call():
    texts = ['Weather in London 2026? {"city": "London", "year": "2026"}'] * 9
    tokenizer = train_tokenizer(texts, vocab_size=400, max_positions=64)
    assert tokenizer.tokenize(" London 12.") == [" ", "London", " ", "1", "2", "."]
    assert tokenizer.tokenize('{"city": "London", "year": "12"}') == [
        *('{"', "city", '": "', "London", '", "', "year", '": "', "1", "2", '"}')
    ]


def test_the_chat_template_marks_roles_and_ends_replies(tokenizer):
    dialog = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "o"},
    ]
    text = tokenizer.apply_chat_template(dialog, tokenize=False, add_generation_prompt=True)
    assert text == "<|begin|><|system|>s<|user|>q<|assistant|>a<|end|><|user|>o<|assistant|>"


def test_a_saved_tokenizer_loads_plainly(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = 'Zürich {"a": "12"}\n\t日本 😀'
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.chat_template == tokenizer.chat_template
    assert (loaded.eos_token, loaded.pad_token) == ("<|end|>", "<|pad|>")


def test_a_base_without_a_chat_template_gets_one_that_ends_replies(tokenizer, tmp_path):
    tokenizer.chat_template = None
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    dialog = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    text = loaded.apply_chat_template(dialog, tokenize=False)
    assert text == "<|begin|>[INST] <<SYS>>\ns\n<</SYS>>\n\nq [/INST] a <|end|>"
    assert loaded.pad_token == loaded.eos_token


def test_a_base_without_a_tokenizer_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.model\.base=.*missing") as caught:
        load_tokenizer(str(tmp_path / "missing"))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_eos_is_refused(tokenizer, tmp_path):
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="end-of-sequence"):
        load_tokenizer(str(tmp_path))
