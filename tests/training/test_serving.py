"""The exported folder in plain transformers, and served to the official client."""

import openai
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.core import layout
from ste_ray.core.replies.chat_form import chat_messages
from ste_ray.core.toolkens import toolken
from ste_ray.llm.local_server import running_local_model
from tests.training.training_runs import job_of, some_rows, train

CALL = next(row for row in some_rows() if row.kind == "tool_call" and "%%" in row.tool)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model that knows a few requests by heart."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("run")
    rows = [row for row in some_rows() if row.split == "train"][:12]
    rows += [CALL] if CALL.row_id not in {row.row_id for row in rows} else []
    settings = {"max_steps": 400, "examples_per_step": 13, "learning_rate": 0.02}
    records, _ = train(job_of(run, rows, **settings))
    assert records[-1].loss < 0.01
    return run / layout.TUNED_MODEL


def messages():
    return chat_messages(CALL.dialog_history)


def test_plain_transformers_generates_the_call_with_its_toolken(model_folder):
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    prompt = tokenizer.apply_chat_template(
        messages(), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        output = model.generate(**prompt, max_new_tokens=64)
    answer = output[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == CALL.response
    assert toolken(CALL.tool) in CALL.response
    assert answer[-1] == tokenizer.eos_token_id


def test_the_official_client_gets_it_from_a_server(model_folder):
    with running_local_model(str(model_folder)) as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        reply = client.chat.completions.create(
            model=str(model_folder), messages=messages(), max_tokens=64, temperature=0
        )
    assert reply.choices[0].message.content == CALL.response
