"""Binds a served reply to calls, by the grammar with which inference is constrained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.generation.constraints import CallGrammar, Constraints, GrammarMask, UnboundError
from ste_ray.generation.model import LocalModel
from ste_ray.serving.requests import RequestError

_KEPT = 16  # grammars
# What walking through a schema raises that is none.
_NO_SCHEMA = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class CallBinder:
    """Makes what binds a reply to a call; fulfils ``serving.model.Binder``. For one thread.

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
            grammar = self._grammar(json.dumps(schemas))
        except UnboundError as error:
            raise _refusal(f"{error.reason}; leave tool_choice out") from None
        except _NO_SCHEMA as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise _refusal(
                f"the parameters of {', '.join(map(repr, schemas))} are no JSON Schema of which a"
                f" grammar can be made ({told})"
            ) from None
        if grammar.num_tokens > limit:
            raise _refusal(
                f"the shortest call of some tool takes about {grammar.num_tokens} tokens, and the"
                f" reply may have {limit}; raise max_tokens"
            )
        return GrammarMask(self._model, [grammar], num_prompt, limit)

    @cached_property
    def _constraints(self) -> Constraints:
        return Constraints(self._model)

    def _made(self, schemas_text: str) -> CallGrammar:
        schemas = json.loads(schemas_text)
        if self._toolkens:
            # Others are described in the prompt, and called by their names.
            return self._constraints.compiled(
                {self._toolkens.get(name, name): schema for name, schema in schemas.items()}
            )
        if self._chat is None:
            raise UnboundError("the model's chat template knows no tools")
        marks = {
            text: int(self._model.tokenizer.convert_tokens_to_ids(text))
            for text in self._chat.kept_tokens()
        }
        return self._constraints.compiled_native(schemas, self._chat.facts.form, marks)


def _refusal(told: str) -> RequestError:
    return RequestError(f"tool_choice: {told}", "tool_choice", "unsupported_tool_choice")
