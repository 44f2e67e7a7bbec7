import random

import pytest
import torch

from ste_ray.core.records import Message, TrainRow
from ste_ray.core.toolkens import toolken
from ste_ray.training.config import ModelConfig
from ste_ray.training.tokenizer import train_tokenizer
from tests.training.ranks import TwoRanks

TOOLS = ("weather report", "get_time", "Größe%%[v2]")

MODEL_CONFIG = ModelConfig(
    vocab_size=400, hidden_size=32, num_layers=2, num_heads=2, max_positions=256
)


def make_row(number, split="train"):
    rng = random.Random(number)
    tool = rng.choice(TOOLS)
    value = "".join(rng.choice("abcdefghij") for _ in range(rng.randint(2, 12)))
    dialog = [
        Message(role="system", content="Reply with one call."),
        Message(role="user", content=f"What about {value}, {rng.randint(0, 999)} times?"),
    ]
    call = f'Action: {toolken(tool)}\nAction Input: {{"q": "{value}"}}'
    if number % 3 == 0:
        dialog.append(Message(role="assistant", content=call))
        dialog.append(Message(role="user", content=f"Observation: {value * 3}"))
        call = f"Final Answer: {value} is it"
    return TrainRow(
        row_id=f"row{number:03d}",
        example_id=f"example{number:03d}",
        tool=tool,
        kind="final_answer" if number % 3 == 0 else "tool_call",
        split=split,
        dialog_history=tuple(dialog),
        response=call,
    )


def row_texts(rows):
    return [
        text for row in rows for text in (*(m.content for m in row.dialog_history), row.response)
    ]


def small_tokenizer(texts):
    return train_tokenizer(texts, vocab_size=400, max_positions=256)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def train_rows():
    return [make_row(number) for number in range(60)]


@pytest.fixture(scope="session")
def texts(train_rows):
    return row_texts(train_rows)


@pytest.fixture
def tokenizer(texts):
    return small_tokenizer(texts)


@pytest.fixture
def model_config():
    return MODEL_CONFIG


@pytest.fixture(scope="session")
def two_ranks():
    ranks = TwoRanks()
    yield ranks
    ranks.close()
