"""From test queries to predictions, with a local model in one setting.

A row that cannot be answered carries its error; it does not stop the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import TemplateError

from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Example, Prediction, Retrieved, ToolSpec
from ste_ray.core.toolkens import toolken
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.generation.decode import Completion, Decoding, generate
from ste_ray.generation.model import LocalModel
from ste_ray.generation.prompting import Prompt, retrieved_prompt, toolken_prompt
from ste_ray.generation.settings import Setting

Query = tuple[Example, Retrieved]


@dataclass(frozen=True)
class PromptMaterial:
    """What prompts are made of.

    Attributes:
        specs: all tools by name.
        demonstrations: training examples by id, at least those that were retrieved.
        prompts: the prompt templates.
    """

    specs: Mapping[str, ToolSpec]
    demonstrations: Mapping[str, Example]
    prompts: PromptSet


class Predictor:
    """Answers test queries with a local model.

    Raises:
        ConfigError: the model has too few positions for answers of the length asked for.
        StageInputError: the setting needs toolkens and the model has none.
    """

    def __init__(
        self, model: LocalModel, setting: Setting, material: PromptMaterial, decoding: Decoding
    ) -> None:
        self._model = model
        self._setting = setting
        self._material = material
        self._decoding = decoding
        self._max_prompt_tokens = max_prompt_tokens(model.max_positions, decoding.max_new_tokens)
        vocabulary = model.tokenizer.get_added_vocab()
        self._toolkens = tuple(
            name for name in sorted(material.specs) if toolken(name) in vocabulary
        )
        if setting.prompt == "toolken" and not self._toolkens:
            raise StageInputError(
                f"the model of setting {setting.name!r} has no toolken of any tool; train it with"
                " the train stage, or use another setting"
            )

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Return one prediction a query, in their order."""
        prompts = [self._prompt_or_error(query) for query in queries]
        good = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        completions = iter(
            generate(self._model, [prompt.token_ids for prompt in good], self._decoding)
        )
        return [
            self._prediction(example, prompt, next(completions))
            if isinstance(prompt, Prompt)
            else self._prediction(example, Prompt([]), Completion("", 0, error=prompt))
            for (example, _), prompt in zip(queries, prompts, strict=True)
        ]

    def _prompt_or_error(self, query: Query) -> Prompt | str:
        try:
            return self._prompt(*query)
        except (ValueError, TemplateError) as error:  # too long, or refused by the chat template
            return " ".join(f"no prompt: {error}".split())[:500]

    def _prompt(self, example: Example, retrieved: Retrieved) -> Prompt:
        material = self._material
        if self._setting.prompt == "toolken":
            return toolken_prompt(
                example.query, material.prompts, self._model.tokenizer, self._max_prompt_tokens
            )
        neighbors = retrieved.demonstrations if self._setting.prompt == "icl" else ()
        return retrieved_prompt(
            example.query,
            [material.specs[tool.key] for tool in retrieved.tools],
            [material.demonstrations[neighbor.key] for neighbor in neighbors],
            material.prompts,
            self._model.tokenizer,
            self._max_prompt_tokens,
        )

    def _prediction(self, example: Example, prompt: Prompt, completion: Completion) -> Prediction:
        # A model with toolkens can name every tool that has one.
        tools = self._toolkens if self._setting.prompt == "toolken" else prompt.tools
        return Prediction(
            example_id=example.example_id,
            setting=self._setting.name,
            tool=example.tool,
            query=example.query,
            arguments_json=example.arguments_json,
            candidates=tools,
            output_text=completion.text,
            error=completion.error,
            prompt_tokens=len(prompt.token_ids),
            completion_tokens=completion.num_tokens,
            tools_left_out=prompt.tools_left_out,
            demonstrations_left_out=prompt.demonstrations_left_out,
        )


def max_prompt_tokens(max_positions: int | None, max_new_tokens: int) -> int | None:
    """Return the longest prompt that leaves room for the answer; None for no limit.

    Raises:
        ConfigError: no prompt does.
    """
    if max_positions is None:
        return None
    if max_new_tokens >= max_positions:
        raise ConfigError(
            f"infer.max_new_tokens={max_new_tokens!r} leaves no room for a prompt in a model with"
            f" {max_positions} positions; lower it"
        )
    return max_positions - max_new_tokens
