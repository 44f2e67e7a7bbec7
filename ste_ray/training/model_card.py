"""The card of an exported model: what it is, what it was trained on, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ste_ray.core.asked_models import AskedModel
from ste_ray.core.scoring.general_ability import GeneralAbility
from ste_ray.core.texts.local_paths import public_name
from ste_ray.core.toolkens import toolken
from ste_ray.training.config import TrainConfig
from ste_ray.training.figures import TrainSummary
from ste_ray.training.tool_parser import TOOL_PARSER_FILE

_MAX_TOOLS = 200


@dataclass(frozen=True)
class CardFacts:
    """What a model card tells.

    Attributes:
        base: the base model as it was named; empty for a small one that was built.
        tools: names of the tools whose toolkens are in use.
        rows: training rows by kind.
        validation_rows: their number.
        seed: of data and training.
        parameters: of the model.
        trained: of them.
        precision: of arithmetic and weights.
        version: of this program.
        explorer: who explored the data; None: nobody did here.
        general: general ability before and after; None: no general examples were held out.
    """

    base: str
    tools: Sequence[str]
    rows: dict[str, int]
    validation_rows: int
    seed: int
    parameters: int
    trained: int
    precision: str
    version: str
    explorer: AskedModel | None = None
    general: GeneralAbility | None = None


def model_card(facts: CardFacts, config: TrainConfig, summary: TrainSummary) -> str:
    """Return the card as Markdown with the metadata that the Hugging Face hub reads."""
    base = public_name(facts.base) or "a Llama with random weights, built for this training"
    shown = list(facts.tools[:_MAX_TOOLS])
    tools = ", ".join(f"`{name}`" for name in shown) or "none"
    if len(facts.tools) > len(shown):
        tools += f" and {len(facts.tools) - len(shown)} more"
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(facts.rows.items()))
    loss = summary.validation_loss
    validation = "not measured" if loss is None else f"{loss:.4f}"
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [tool-use, function-calling, ste-ray]",
        *([f"base_model: {facts.base}"] if _is_hub_name(facts.base) else []),
        "---",
        "",
        "# A model fine-tuned to call tools",
        "",
        f"Base: {base}. Fine-tuned by ste-ray {facts.version} on simulated trial and error (Wang et"
        " al., 2024).",
        *(_native_form(facts) if config.format == "native" else _toolken_form(facts)),
        "",
        "| | |",
        "|---|---|",
        f"| tools ({len(facts.tools)}) | {tools} |",
        f"| explored by | {_explorer(facts.explorer)} |",
        f"| training rows | {kinds or 'none'} |",
        f"| validation rows | {facts.validation_rows:,} |",
        f"| trained | {config.mode}: {facts.trained:,} of {facts.parameters:,} parameters |",
        f"| steps | {summary.num_steps:,} of {config.examples_per_step} rows;"
        f" {summary.useful_tokens:,} tokens, {summary.label_tokens:,} of them labels |",
        f"| learning rate | {config.learning_rate:g}, cosine,"
        f" {config.warmup_fraction:.0%} warm-up |",
        f"| precision | {facts.precision} |",
        f"| loss of a label token at the end | {summary.train_loss:.4f} training (mean of the last"
        f" tenth of the steps),"
        f" {validation} validation |",
        *([f"| general ability | {facts.general.sentence} |"] if facts.general else []),
        f"| seed | {facts.seed} |",
        "| needs | `transformers>=5.20`, as which it was written |",
        "",
        "`tools.json` has the tools as clients offer them (`tools` of a request), as they were in"
        " training.",
        "",
        "What it was not trained on it does not know: other tools, other versions of these tools,"
        " and requests unlike those of its training data.",
        "",
    ]
    return "\n".join(lines)


def _toolken_form(facts: CardFacts) -> list[str]:
    example = toolken(facts.tools[0]) if facts.tools else toolken("NAME")
    answers = ["and, given `Observation: …` by the user, with `Final Answer: …`."]
    return [
        f"Each tool is one token of the vocabulary, such as `{example}`: the model answers a"
        " request with",
        "",
        "```",
        f"Action: {example}",
        'Action Input: {"argument": "value"}',
        "```",
        "",
        *(answers if "final_answer" in facts.rows else []),
        "`toolkens.json` lists the tools' tokens. No description of a tool is needed in the"
        " prompt. vLLM returns",
        f"its calls as tool calls by `{TOOL_PARSER_FILE}` beside it: `vllm serve FOLDER"
        f" --tool-parser-plugin FOLDER/{TOOL_PARSER_FILE}",
        "--tool-call-parser toolken --enable-auto-tool-choice`.",
    ]


def _native_form(facts: CardFacts) -> list[str]:
    answers = " It was trained on answers after what tools returned, too."
    return [
        "It calls tools in the form that its chat template writes: give the tools to"
        " `apply_chat_template(…, tools=…)`,",
        "or to a server's `tools`. In training each request came with its tool among those most"
        f" like it.{answers if 'final_answer' in facts.rows else ''}",
    ]


def _explorer(asked: AskedModel | None) -> str:
    if asked is None:
        return "nobody here: the data were brought in"
    if asked.is_script:
        return "a script (the scripted teacher of ste-ray), not a language model"
    return f"the language model {public_name(asked.model)}"


def _is_hub_name(base: str) -> bool:
    return base.count("/") == 1 and not base.startswith((".", "/", "~"))
