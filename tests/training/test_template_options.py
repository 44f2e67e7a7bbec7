"""Options of chat templates: trained with, kept by the trained model, and the same at inference."""

from contextlib import suppress

import pytest

from ste_ray.core import layout
from ste_ray.core.preparing.formatting import toolken_dialog
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError
from ste_ray.generation.model import Loading, load_model
from ste_ray.generation.prompting import encode_dialog
from ste_ray.stages.train.inputs import lay_out
from ste_ray.stages.train.shards import write_shards_here
from ste_ray.training.examples import RowTokenizer
from ste_ray.training.tokenizer import load_tokenizer
from ste_ray.training.toolkens import tokenizer_of
from tests.training.conftest import TOOLS
from tests.training.training_runs import job_of, prepared, save_base, train

CLOSED = "<think>\n\n</think>\n\n"
SWITCHED = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
DIALOG = toolken_dialog("Hi", PromptSet(dict.fromkeys(REQUIRED_PROMPTS, "Be brief.")))


@pytest.fixture
def base(tmp_path, tokenizer):
    tokenizer.chat_template = SWITCHED
    return save_base(tmp_path / "base", tokenizer)


def spec(name):
    executor = {"kind": "python", "target": "a:b"}
    return ToolSpec(name=name, description="d", parameters={}, executor=executor)


def test_training_and_inference_agree_and_the_model_remembers(tmp_path, base, train_rows):
    options = {"enable_thinking": False}
    job = job_of(tmp_path / "run", model={"base": str(base)}, max_steps=1, template_options=options)
    trained_with, _ = tokenizer_of(base, job.config, job.tools)
    row = train_rows[0]
    tokenised = RowTokenizer(trained_with, 512).tokenise(row)
    prompt = list(tokenised.input_ids[: tokenised.prompt_tokens])
    assert trained_with.decode(prompt).endswith(CLOSED)
    train(job)
    tuned = load_model(tmp_path / "run" / "train" / "model")
    assert encode_dialog(row.dialog_history, tuned.tokenizer) == prompt
    assert tuned.answers_at_once
    # The base is kept as it came; asked with the same options, it sees the same.
    plain = load_model(tmp_path / "run" / "train" / "base")
    asked = load_model(tmp_path / "run" / "train" / "base", Loading(template_options=options))
    (without, given) = (
        model.tokenizer.decode(encode_dialog(DIALOG, model.tokenizer)) for model in (plain, asked)
    )
    assert given == without + CLOSED
    # What is asked for at inference stands before what was trained with.
    other = load_model(
        tmp_path / "run" / "train" / "model", Loading(template_options={"enable_thinking": True})
    )
    assert not other.tokenizer.decode(encode_dialog(DIALOG, other.tokenizer)).endswith(CLOSED)


def test_an_option_that_no_template_reads_is_said(tmp_path, base):
    context, said = prepared(
        tmp_path / "run", model={"base": str(base)}, template_options={"enable_thinkng": False}
    )
    lay_out(context, write_shards_here)
    assert any("does not read enable_thinkng" in line for line in said)
    assert any("enable_thinkng" in note for note in context.notes)
    assert load_tokenizer(str(tmp_path / "run" / "train" / "base")).chat_template == SWITCHED


@pytest.mark.parametrize(("form", "is_said"), [("toolken", False), ("native", True)])
def test_what_becomes_of_unknown_tools_is_read_by_models_with_toolkens(
    tmp_path, base, form, is_said
):
    options = {"unknown_tools": "refuse"}
    context, said = prepared(
        tmp_path / "run", model={"base": str(base)}, template_options=options, format=form
    )
    specs = [spec(name).model_dump(mode="json") for name in TOOLS]
    context.store.write_json(layout.TOOLS, specs)
    with suppress(StageInputError):  # native rows are too long for this base, which is found later
        lay_out(context, write_shards_here)
    assert any("does not read unknown_tools" in line for line in said) == is_said
    assert any("unknown_tools" in note for note in context.notes) == is_said
