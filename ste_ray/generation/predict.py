"""From test queries to predictions, with a local model in one setting.

A row that cannot be answered carries its error; it does not stop the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jinja2 import TemplateError

from ste_ray.core.effects import ToolResult
from ste_ray.core.inferring.answering import calls_again, concluding_dialog, final_answer_of
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting
from ste_ray.core.records import Prediction
from ste_ray.core.replies.reasoning import opens_reasoning
from ste_ray.core.toolkens import toolken
from ste_ray.errors import StageInputError, ToolTemplateError
from ste_ray.generation.constraints import CallGrammar, Constraints
from ste_ray.generation.decode import Completion, Decoding, generate, plan_batches
from ste_ray.generation.model import LocalModel
from ste_ray.generation.native import NativeCalling, check_tool_choice
from ste_ray.generation.prefill import Prefixes
from ste_ray.generation.prompting import (
    Prompt,
    encode_dialog,
    fitted_prompt,
    max_prompt_tokens,
)
from ste_ray.generation.stopping import OnTokens

_END_TOKENS = 24  # of a prompt, among which a tag that opens reasoning would be the last


@dataclass(frozen=True)
class AnsweredQuery:
    """A query with its prompt and what the model answered."""

    query: Query
    prompt: Prompt
    prediction: Prediction


def observed(
    answered: Sequence[AnsweredQuery], results: Mapping[int, ToolResult]
) -> list[Prediction]:
    """Return predictions with what their calls returned, and without final answers.

    Args:
        answered: predictions with their prompts.
        results: place in ``answered`` -> what the call returned; others are left as they are.
    """
    predictions = [one.prediction for one in answered]
    for place, result in results.items():
        predictions[place] = predictions[place].model_copy(
            update={"observation": result.text, "observation_status": result.status}
        )
    return predictions


class Predictor:
    """Answers test queries with a local model.

    Args:
        model: the model.
        setting: what prompts show.
        material: what prompts are made of.
        decoding: how answers are decoded.
        constrained: whether answers can be nothing but calls that fit the tools' schemas.
        on_tokens: is told after every step how many tokens it gave; none after passes over prompts.

    Raises:
        ConfigError: the model has too few positions for answers of the length asked for, or a
            native setting must call and is not constrained to.
        ToolTemplateError: the setting calls natively, and the chat template does not.
        StageInputError: the setting needs toolkens and the model has none.
    """

    def __init__(
        self,
        model: LocalModel,
        setting: Setting,
        material: PromptMaterial,
        decoding: Decoding,
        constrained: bool = False,
        on_tokens: OnTokens | None = None,
    ) -> None:
        self._native = None
        if setting.is_native:
            check_tool_choice(setting, material.tool_choice, constrained)
            self._native = NativeCalling(model, setting, material)
            model = self._native.model
            decoding = replace(decoding, native=self._native.decoding, stop_texts=())
        self._model = model
        self._on_tokens = on_tokens
        self._setting = setting
        self._material = material
        self._decoding = decoding
        self._max_prompt_tokens = max_prompt_tokens(model.max_positions, decoding.max_new_tokens)
        vocabulary = model.tokenizer.get_added_vocab()
        self._toolkens = tuple(one for one in sorted(material.specs) if toolken(one) in vocabulary)
        if setting.prompt == "toolken" and not self._toolkens:
            raise StageInputError(
                f"the model of setting {setting.name!r} has no toolken of any tool; train it with"
                " the train stage, or use another setting"
            )
        self._prefixes = Prefixes(model, on_pass=lambda: on_tokens(0) if on_tokens else None)
        self._constraints = Constraints(model, decoding.max_new_tokens) if constrained else None

    def prompts(self, queries: Sequence[Query]) -> list[Prompt | str]:
        """Return the prompt of each query, or why it has none."""
        return [self._prompt_or_error(query) for query in queries]

    def batches(self, prompts: Sequence[Prompt | str]) -> list[list[int]]:
        """Return the places of prompts in the batches in which ``answer`` decodes them.

        What has no prompt comes first. What prompts share is computed once for all batches.
        """
        good = [place for place, prompt in enumerate(prompts) if isinstance(prompt, Prompt)]
        self._prefixes.expect([p.token_ids for p in prompts if isinstance(p, Prompt)])
        bad = [place for place, prompt in enumerate(prompts) if isinstance(prompt, str)]
        lengths = [self.num_tokens(prompts[place]) for place in good]
        planned = [[good[at] for at in batch] for batch in plan_batches(lengths, self._decoding)]
        return [*([bad] if bad else []), *planned]

    def num_tokens(self, prompt: Prompt | str) -> int:
        """Return the length of a prompt; 0 if there is none."""
        return len(prompt.token_ids) if isinstance(prompt, Prompt) else 0

    def answer(
        self, queries: Sequence[Query], prompts: Sequence[Prompt | str]
    ) -> list[AnsweredQuery]:
        """Return one prediction a query, in their order; each comes with its prompt."""
        good = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        decoding = self._decoding_of([prompt.token_ids for prompt in good])
        seeds = [
            " ".join(filter(None, (query.example.example_id, self._setting.variant)))
            for query, prompt in zip(queries, prompts, strict=True)
            if isinstance(prompt, Prompt)
        ]
        completions = iter(
            generate(
                self._model,
                [prompt.token_ids for prompt in good],
                decoding,
                seeds=seeds,
                grammars=self._grammars(good),
                on_tokens=self._on_tokens,
                prefixes=self._prefixes,
            )
        )
        return [
            self._answered(query, prompt, next(completions), decoding.opened)
            if isinstance(prompt, Prompt)
            else self._answered(query, Prompt([]), Completion("", 0, error=prompt), False)
            for query, prompt in zip(queries, prompts, strict=True)
        ]

    def conclude(
        self, answered: Sequence[AnsweredQuery], results: Mapping[int, ToolResult]
    ) -> list[Prediction]:
        """Let the model answer after what its calls returned.

        Args:
            answered: predictions with their prompts.
            results: place in ``answered`` -> what the call returned; others are left as they are.
        """
        predictions = observed(answered, results)
        places, prompts = [], []
        for place, result in results.items():
            found = self._concluding_prompt(answered[place], result)
            if isinstance(found, list):
                places.append(place)
                prompts.append(found)
            else:
                predictions[place] = predictions[place].model_copy(update={"final_error": found})
        # The answer may say anything, the word Observation too.
        decoding = replace(self._decoding_of(prompts, constrained=False), stop_texts=())
        seeds = [f"{predictions[place].example_id} answer" for place in places]
        completions = generate(
            self._model,
            prompts,
            decoding,
            seeds=seeds,
            on_tokens=self._on_tokens,
            prefixes=self._prefixes,
        )
        for place, prompt, completion in zip(places, prompts, completions, strict=True):
            before = predictions[place]
            before = before.model_copy(update={"final_prompt_tokens": len(prompt)})
            if self._native is not None:
                shown, opened = answered[place].prompt, decoding.opened
                predictions[place] = self._native.conclude(before, shown, completion, opened)
                continue
            predictions[place] = before.model_copy(
                update={
                    "final_answer": final_answer_of(completion.text),
                    "final_error": completion.error
                    or calls_again(completion.text, (), before.known_tools),
                    "final_cut": completion.cut,
                    "final_reasoning": completion.reasoning,
                    "final_completion_tokens": completion.num_tokens,
                    "reasoning_tokens": before.reasoning_tokens + completion.reasoning_tokens,
                }
            )
        return predictions

    def _concluding_prompt(self, one: AnsweredQuery, result: ToolResult) -> list[int] | str:
        """Return the prompt of the answer to what a call returned, or why there is none."""
        dialog = concluding_dialog(
            one.prediction, one.prompt.dialog, result.text, self._material.keep_reasoning
        )
        try:
            token_ids = (
                encode_dialog(dialog, self._model.tokenizer)
                if self._native is None
                else self._native.token_ids(dialog, self._native.tools_of(one.prompt))
            )
        except ToolTemplateError as error:
            return " ".join(f"no prompt: {error}".split())[:500]
        if self._max_prompt_tokens is None or len(token_ids) <= self._max_prompt_tokens:
            return token_ids
        return self._no_room(len(token_ids))

    def _no_room(self, num_tokens: int) -> str:
        return (
            f"with what the tool answered the conversation has {num_tokens} tokens, more than the"
            f" {self._max_prompt_tokens} that leave room for an answer of infer.max_new_tokens="
            f"{self._decoding.max_new_tokens}"
        )

    def _decoding_of(
        self, prompts: Sequence[Sequence[int]], constrained: bool | None = None
    ) -> Decoding:
        """Return how to decode what follows ``prompts``, which all end as the template has it.

        What is constrained to calls, and what was trained here to answer at once, does not reason.
        """
        if constrained is None:
            constrained = self._constraints is not None
        if constrained or self._model.answers_at_once or not prompts:
            return self._decoding
        end = self._model.tokenizer.decode(list(prompts[0][-_END_TOKENS:]))
        return replace(self._decoding, opened=opens_reasoning(end))

    def _grammars(self, prompts: Sequence[Prompt]) -> list[CallGrammar] | None:
        if self._constraints is None:
            return None
        specs = self._material.specs
        if self._native is not None:
            return [
                self._constraints.native_grammar(
                    self._native.schemas_of(prompt),
                    self._native.decoding.form,
                    self._native.marks,
                )
                for prompt in prompts
            ]
        if self._setting.prompt == "toolken":
            written = {toolken(name): specs[name].parameters for name in self._toolkens}
            grammar = self._constraints.grammar(written)
            return [grammar] * len(prompts)
        return [
            self._constraints.grammar(
                # The messages of a test set need not say which tools they describe.
                {name: specs[name].parameters for name in prompt.tools if name in specs}
                or {name: spec.parameters for name, spec in specs.items()}
            )
            for prompt in prompts
        ]

    def _prompt_or_error(self, query: Query) -> Prompt | str:
        try:
            return fitted_prompt(
                query,
                self._setting,
                self._material,
                self._model.tokenizer,
                self._max_prompt_tokens,
                self._native.token_ids if self._native is not None else None,
            )
        # Too long, or refused by the chat template.
        except (ValueError, TemplateError, ToolTemplateError) as error:
            return " ".join(f"no prompt: {error}".split())[:500]

    def _answered(
        self, query: Query, prompt: Prompt, completion: Completion, opened: bool
    ) -> AnsweredQuery:
        # A model with toolkens can name every tool that has one.
        tools = self._toolkens if self._setting.prompt == "toolken" else prompt.tools
        example = query.example
        prediction = Prediction(
            example_id=example.example_id,
            setting=self._setting.name,
            tool=example.tool,
            query=example.query,
            arguments_json=example.arguments_json,
            accepted_json=example.accepted_json,
            kind=example.kind,
            near_tool=example.near_tool,
            failed_calls=example.failed_calls,
            candidates=tools,
            output_text=completion.text,
            output_cut=completion.cut,
            error=completion.error,
            prompt_tokens=len(prompt.token_ids),
            completion_tokens=completion.num_tokens,
            reasoning=completion.reasoning,
            reasoning_tokens=completion.reasoning_tokens,
            tools_left_out=prompt.tools_left_out,
            demonstrations_left_out=prompt.demonstrations_left_out,
            native=self._native is not None,
        )
        if self._native is not None and not completion.error:
            prediction = self._native.read(prediction, prompt, completion, opened)
        return AnsweredQuery(query, prompt, prediction)
