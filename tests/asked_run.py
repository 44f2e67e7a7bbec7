"""A run whose tiny model has learnt a few replies by heart, for the tests of ``ask``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from ste_ray.core import layout
from ste_ray.core.inferring.answering import observed_dialog
from ste_ray.core.preparing.formatting import toolken_dialog
from ste_ray.core.records import Example, Message
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import TOOLKENS_FILE, toolken
from ste_ray.generation.prompting import encode_dialog
from ste_ray.resources import resource_folder
from ste_ray.stages.base import load_prompts
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import declare_stage
from ste_ray.store.tables import write_records
from ste_ray.tools.spec.files import read_tool_files
from tests.byte_models import answer_row, byte_llama, byte_tokenizer, learn_by_heart

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ROMAN, NOTE, HELLO, BROKEN = "Write 12 in Roman", "Note the cat", "Greet me", "Write 7 in Roman"
NOTE_TOOL = ToolSpec(
    name="note",
    description="Writes a text down.",
    parameters={
        "type": "object",
        "properties": {"obj": {"type": "string"}},
        "required": ["obj"],
    },
    executor={"kind": "python", "target": "json:dumps"},
    effect="writes",
)
CALLS = {
    ROMAN: 'Action: <tool_roman_encode>\nAction Input: {"number":12}',
    NOTE: 'Action: <tool_note>\nAction Input: {"obj":"the cat"}',
    BROKEN: 'Action: <tool_roman_encode>\nAction Input: {"number":',
}
OBSERVED = {ROMAN: '{"number": 12, "roman": "XII"}', NOTE: '"the cat"'}
ANSWERS = {ROMAN: "Final Answer: It is XII.", NOTE: "Final Answer: Noted."}
GREETING = "Final Answer: Hello to you."


def specs() -> list[ToolSpec]:
    """The tools of the run, by name."""
    files = read_tool_files(
        ("builtin",), ("add_date", "roman_encode"), shipped=resource_folder("tool_metadata")
    )
    return sorted([*files.specs.values(), NOTE_TOOL], key=lambda spec: spec.name)


def make_run(folder: Path) -> RunStore:
    """Make the run: tools, examples, and a model before and after training."""
    store = open_store(str(folder / "run"))
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs()])
    write_records(store, layout.part(layout.EXAMPLES, 0), _examples(), Example)
    tokenizer = _tokenizer()
    model = _taught(tokenizer)
    logging.disable_progress_bar()
    for path in (layout.BASE_MODEL, layout.TUNED_MODEL):
        target = Path(store.path(path))
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    toolkens = {spec.name: tokenizer.convert_tokens_to_ids(toolken(spec.name)) for spec in specs()}
    store.write_json(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}", {"tools": toolkens, "retired": []})
    declare(store, tool_responses=True)
    return store


def declare(store: RunStore, *, tool_responses: bool) -> None:
    """Declare what the model was trained on."""
    fields = {"seed": 0, "prepare": {"tool_responses": tool_responses}}
    declare_stage(store, "prepare", fields, {}, started_at=0.0)


def _examples() -> list[Example]:
    return [
        Example(
            example_id=f"e{number}",
            group_id=f"g{number}",
            trial_id="t",
            tool="roman_encode",
            query=f"Write {number} in Roman numerals",
            origin="explored",
            arguments_json=json.dumps({"number": number}),
            observation="",
            final_answer="",
            split="test" if number > 5 else "train",
        )
        for number in range(1, 8)
    ]


def _dialogs() -> list[tuple[Sequence[Message], str]]:
    """The prompts that the model knows, with their answers."""
    prompts = load_prompts()
    found: list[tuple[Sequence[Message], str]] = [(toolken_dialog(HELLO, prompts), GREETING)]
    for request, call in CALLS.items():
        dialog = toolken_dialog(request, prompts)
        found.append((dialog, call))
        if request in ANSWERS:
            seen = observed_dialog(dialog, call, OBSERVED[request])
            found.append((seen, ANSWERS[request]))
    return found


def _tokenizer() -> PreTrainedTokenizerFast:
    texts = [one.content for dialog, _ in _dialogs() for one in dialog]
    texts += [answer for _, answer in _dialogs()]
    wrapped = byte_tokenizer(texts, 500, TEMPLATE)
    wrapped.add_tokens(
        [AddedToken(toolken(spec.name), special=False, normalized=False) for spec in specs()]
    )
    return wrapped


def _taught(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    model = byte_llama(tokenizer)
    eos = tokenizer.eos_token_id
    rows = [
        answer_row(encode_dialog(dialog, tokenizer), [*tokenizer.encode(answer), eos])
        for dialog, answer in _dialogs()
    ]
    learn_by_heart(model, rows)
    return model
