"""What the tests of inference share: a run as the stages before leave it, with tiny models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Example, Prediction
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import toolken
from ste_ray.stages.base import StageContext
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.lock import RunLock
from ste_ray.store.tables import read_records, write_records
from ste_ray.training.config import ModelConfig
from ste_ray.training.model import build_model
from ste_ray.training.tokenizer import train_tokenizer

WORDS = {"add_days": "date days calendar", "iban_check": "bank account number", "moon": "moon sky"}
SETTINGS = ("base/retrieved", "base/icl", "tuned/toolken")
CONFIG: dict[str, Any] = {
    "retrieve": {"num_tools": 2, "num_demonstrations": 3},
    "infer": {"settings": SETTINGS, "batch_size": 4, "max_new_tokens": 8, "num_workers": 2},
}


def examples(split: str, count: int) -> list[Example]:
    names = sorted(WORDS)
    return [
        Example.model_validate(
            {
                "example_id": f"{split}-{i:03d}",
                "group_id": f"group-{split}-{i}",
                "trial_id": "t",
                "tool": names[i % 3],
                "query": f"about the {WORDS[names[i % 3]]}, number {i}",
                "origin": "explored",
                "arguments_json": json.dumps({"n": i}),
                "observation": "ok",
                "final_answer": "done",
                "split": split,
            }
        )
        for i in range(count)
    ]


def prepared_run(new_folder: Callable[[str], Path]) -> RunStore:
    """Make a run as the stages before leave it; tests work on copies."""
    store = open_store(str(new_folder("run")))
    tools = [
        ToolSpec(
            name=name,
            description=f"About {words}",
            parameters={"type": "object"},
            executor={"kind": "python", "target": "m:f"},
        ).model_dump(mode="json")
        for name, words in WORDS.items()
    ]
    store.write_json(layout.TOOLS, tools)
    data = [*examples("train", 12), *examples("test", 37), *examples("validation", 3)]
    write_records(store, "prepare/examples/part-00000.parquet", data, Example)
    tokenizer = train_tokenizer([item.query for item in data], 320, 2048)
    size = ModelConfig(vocab_size=320, hidden_size=32, num_layers=1, num_heads=2)
    for path in (layout.BASE_MODEL, layout.TUNED_MODEL):
        folder = new_folder("model")
        if path == layout.TUNED_MODEL:
            tokenizer.add_tokens(
                [AddedToken(toolken(name), special=False, normalized=False) for name in WORDS]
            )
        build_model(size, tokenizer, seed=1).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        store.upload_folder(folder, path)
    return store


@dataclasses.dataclass
class Run:
    """A context on a copy of the prepared run, and the lines it was told."""

    context: StageContext
    lines: list[str]

    @property
    def store(self) -> RunStore:
        return self.context.store

    def configured(self, **given: Any) -> StageContext:
        values = {
            name: {**CONFIG.get(name, {}), **value} if isinstance(value, dict) else value
            for name, value in given.items()
        }
        config = Config.model_validate({**CONFIG, **values})
        return dataclasses.replace(self.context, config=config)


@contextmanager
def copied(prepared: RunStore, folder: Path) -> Iterator[Run]:
    """Yield a copy of a run in ``folder``, owned by this test."""
    store = open_store(str(folder))
    for path in prepared.list():
        store.write_bytes(path, prepared.read_bytes(path))
    lines: list[str] = []
    config = Config.model_validate(CONFIG)
    with RunLock(store, "test") as lock:  # workers write nothing into a run that nobody owns
        yield Run(StageContext(config, store, lines.append, epoch=lock.epoch), lines)


def predictions(store: RunStore) -> list[Prediction]:
    found = read_records(store, layout.PREDICTIONS, Prediction)
    return sorted(found, key=lambda item: (item.setting, item.example_id))
