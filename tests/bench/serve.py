"""Tokens through a server beside decoding in this process, on the same requests: make bench-serve.

``MODEL=folder`` serves a model of one's own in place of a random one, ``REQUESTS=24`` so many
requests. Client and server share the machine; each side decodes with one thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import infer_prompts
import openai
import psutil
import torch
from tables import Row, exit_code, print_machine, print_rows
from transformers.utils import logging

from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.core.inferring.answering import dialog_of
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting, prompt_contents
from ste_ray.core.prompts import offered_tool
from ste_ray.core.replies.chat_form import chat_messages, chat_tool
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import LocalModel, load_model
from ste_ray.generation.predict import Predictor
from ste_ray.generation.prompting import Prompt
from ste_ray.llm.local_server import running_local_model
from ste_ray.resources import resource_folder
from ste_ray.tools.spec.files import read_tool_files
from ste_ray.training.tokenizer import load_tokenizer

SETTING = Setting("tuned", "native")
CONCURRENCIES = (1, 8)
_BATCH = 8
_MAX_NEW_TOKENS = 48
_WEIGHTS = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")


@dataclass(frozen=True)
class Measured:
    """What answering all requests took, and how many tokens were answered."""

    tokens: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Tokens a CPU-second of all processes."""
        return self.tokens / self.cpu_seconds

    def beside(self, other: Measured) -> str:
        """Return both rates as ratios to another's."""
        return (
            f"{self.rate / other.rate:.2f} × ({self.rate:,.0f} ÷ {other.rate:,.0f} tokens/s);"
            f" {self.cpu_rate / other.cpu_rate:.2f} ×"
            f" ({self.cpu_rate:,.0f} ÷ {other.cpu_rate:,.0f} tokens/CPU-second)"
        )


def main() -> int:
    """Measure, and print the table."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the servers, which inherit it
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="ste-bench-") as scratch:
        rows = _rows(Path(scratch))
    print_rows("Through a server, one thread, greedy: wall time; time of all CPUs", rows)
    print_machine("torch", "transformers", "openai", "uvicorn")
    return exit_code(rows)


def _rows(scratch: Path) -> list[Row]:
    specs = dict(read_tool_files(("builtin",), (), shipped=resource_folder("tool_metadata")).specs)
    material, queries = infer_prompts.requests(specs, int(os.environ.get("REQUESTS", "32")))
    folder = _folder(scratch / "model", material, queries)
    alone, batched, length = _in_process(load_model(folder), material, queries)
    bodies = [_body(query, material) for query in queries]
    rows = [
        Row(
            f"`infer` in batches of {_BATCH}, beside `model.generate` one by one; {len(queries)}"
            f" prompts of {length:.0f} tokens, {batched.tokens} tokens of answers",
            batched.beside(alone),
        )
    ]
    for name, serving in _SERVERS.items():
        with serving(folder) as (url, served_as):
            _asked(url, served_as, bodies[:1], 1)  # the first request allocates
            found = {each: _asked(url, served_as, bodies, each) for each in CONCURRENCIES}
        one, many = found[CONCURRENCIES[0]], found[CONCURRENCIES[-1]]
        rows += [
            Row(f"{name}, 1 request at a time, beside `model.generate`", one.beside(alone)),
            Row(
                f"{name}, {CONCURRENCIES[-1]} at once, beside `infer` in batches of {_BATCH}",
                many.beside(batched),
            ),
            Row(f"{name}, {CONCURRENCIES[-1]} at once, beside 1 at a time", many.beside(one)),
        ]
    return rows


def _folder(folder: Path, material: PromptMaterial, queries: list[Query]) -> Path:
    """Make the folder of a model whose chat template knows tools."""
    own = os.environ.get("MODEL")
    source = Path(own) if own else folder.with_name("random")
    if not own:
        infer_prompts.random_model(source, material, queries)
    folder.mkdir()
    for pattern in _WEIGHTS:
        for file in source.glob(pattern):
            (folder / file.name).symlink_to(file.resolve())
    tokenizer = load_tokenizer(str(source))
    give_tools(tokenizer)
    tokenizer.save_pretrained(folder)
    return folder


def _in_process(
    model: LocalModel, material: PromptMaterial, queries: list[Query]
) -> tuple[Measured, Measured, float]:
    """Answer one by one as transformers does it, and in batches as ``infer`` does.

    Returns:
        Both, and the mean length of prompts in tokens.
    """
    decoding = Decoding(_MAX_NEW_TOKENS, _BATCH)
    predictor = Predictor(model, SETTING, material, decoding, False)
    prompts = predictor.prompts(queries)
    ids = [one.token_ids for one in prompts if isinstance(one, Prompt)]
    assert len(ids) == len(queries), prompts
    _generated(model, ids[:1])  # the first call allocates
    alone = _timed(lambda: _generated(model, ids))

    def answer() -> int:
        found = []
        for places in predictor.batches(prompts):
            some = [queries[at] for at in places], [prompts[at] for at in places]
            found += predictor.answer(*some)
        return sum(one.prediction.completion_tokens for one in found)

    return alone, _timed(answer), sum(map(len, ids)) / len(ids)


def _generated(model: LocalModel, prompts: list[list[int]]) -> int:
    tokens = 0
    for ids in prompts:
        prompt = torch.tensor([ids])
        with torch.inference_mode():
            output = model.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=_MAX_NEW_TOKENS,
                eos_token_id=list(model.eos_token_ids),
                pad_token_id=model.pad_token_id,
            )
        tokens += output.shape[1] - len(ids)
    return tokens


def _timed(work: Callable[[], int]) -> Measured:
    """Measure work that returns how many tokens were answered, its children's time too."""
    cpu, started = _cpu_seconds(), time.perf_counter()
    tokens = work()
    return Measured(tokens, time.perf_counter() - started, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    own = psutil.Process()
    times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _body(query: Query, material: PromptMaterial) -> dict[str, Any]:
    contents = prompt_contents(SETTING, query, material)
    messages = dialog_of(query, SETTING, contents, material)
    tools = [chat_tool(offered_tool(one), safe_name(one.name)) for one in contents.tools]
    return {
        "messages": chat_messages(messages),
        "tools": tools,
        "temperature": 0,
        "max_tokens": _MAX_NEW_TOKENS,
    }


def _asked(url: str, model: str, bodies: Sequence[dict[str, Any]], concurrency: int) -> Measured:
    """Ask a server by the openai SDK, so many requests at once."""

    async def ask_all() -> int:
        gate = asyncio.Semaphore(concurrency)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def ask(body: dict[str, Any]) -> int:
                async with gate:
                    found = await client.chat.completions.create(model=model, **body)
                assert found.usage is not None
                return found.usage.completion_tokens

            return sum(await asyncio.gather(*map(ask, bodies)))

    return _timed(lambda: asyncio.run(ask_all()))


@contextmanager
def _served_by_transformers(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve a model; yield the address and its name there."""
    with running_local_model(str(folder)) as url:
        yield url, str(folder)


@contextmanager
def _served_by_ste_ray(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve a model by ``ste-ray serve``; yield the address and its name there."""
    command = [sys.executable, "-m", "ste_ray", "serve", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield ready["url"], ready["model"]
    finally:
        process.terminate()
        process.communicate()


# By how each is called.
_SERVERS = {
    "`ste-ray serve`": _served_by_ste_ray,
    "`transformers serve`": _served_by_transformers,
}


if __name__ == "__main__":
    sys.exit(main())
