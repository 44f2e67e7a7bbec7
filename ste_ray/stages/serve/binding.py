"""Binds a served reply to calls, by the grammar with which inference is constrained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.errors import ConfigError
from ste_ray.generation.constraints import CallGrammar, Constraints, GrammarMask
from ste_ray.generation.model import LocalModel
from ste_ray.serving.requests import RequestError

_KEPT = 16  # grammars


class CallBinder:
    """Makes what binds a reply to a call; fulfils ``serving.model.Binder``.

    Args:
        model: the model, with all tokens that end its replies.
        chat: the form of its calls, where that is its template's; None: toolkens, or none.
        toolkens: of tools, by their names in requests.
    """

    def __init__(
        self, model: LocalModel, chat: NativeChat | None, toolkens: Mapping[str, str]
    ) -> None:
        self._model = model
        self._chat = chat
        self._toolkens = toolkens
        self._grammar = lru_cache(_KEPT)(self._made)

    def __call__(
        self,
        offered: Sequence[Mapping[str, Any]],
        forced: Sequence[str],
        num_prompt: int,
        limit: int,
    ) -> GrammarMask:
        """Return the processor of scores that allows calls of the tools in ``forced`` alone.

        Args:
            offered: the tools of the request.
            forced: names of those of which one must be called.
            num_prompt: tokens of the prompt.
            limit: tokens of the reply.

        Raises:
            RequestError: the model has no form for such calls, or they do not fit.
        """
        schemas = {
            one["function"]["name"]: one["function"]["parameters"]
            for one in offered
            if one["function"]["name"] in forced
        }
        try:
            grammar = self._grammar(json.dumps(schemas), limit)
        except ConfigError as error:
            told = str(error).replace("infer.constrained=true", "a forced call")
            raise RequestError(
                f"tool_choice: {told}", "tool_choice", "unsupported_tool_choice"
            ) from None
        return GrammarMask(self._model, [grammar], num_prompt, limit)

    def _made(self, schemas_text: str, limit: int) -> CallGrammar:
        schemas = json.loads(schemas_text)
        # Each with its own, since constraints keep grammars by the names of tools alone.
        constraints = Constraints(self._model, limit)
        if self._toolkens:
            # Others are described in the prompt, and called by their names.
            return constraints.grammar(
                {self._toolkens.get(name, name): schema for name, schema in schemas.items()}
            )
        if self._chat is None:
            raise ConfigError("the model's chat template knows no tools; leave tool_choice out")
        marks = {
            text: int(self._model.tokenizer.convert_tokens_to_ids(text))
            for text in self._chat.kept_tokens()
        }
        return constraints.native_grammar(schemas, self._chat.facts.form, marks)
