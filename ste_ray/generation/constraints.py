"""Constrained decoding: an answer can be nothing but a call of a known tool that fits its schema.

Which tokens may follow is decided by llguidance, from one grammar of all calls: the toolken (or the
name of a candidate), then arguments after the tool's JSON Schema. Near the limit of tokens the way
that closes the call is preferred, so that a call is complete whatever the model would go on with.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ste_ray.core.native_calls.form import CallForm
from ste_ray.core.native_calls.grammar import call_grammar
from ste_ray.core.records import canonical_json
from ste_ray.errors import ConfigError
from ste_ray.generation.closing_tokens import ClosingTokens
from ste_ray.generation.grammar_merging import smallest
from ste_ray.generation.grammar_schemas import GrammarSchema
from ste_ray.generation.model import LocalModel
from ste_ray.generation.native_constraints import (
    ending_form,
    fullest_call,
    listed,
    says_all,
    shortest_call,
    value_ends,
    writer,
)
from ste_ray.process.output import say

_OPEN_OBJECT = {"type": "object"}
# As canonical JSON is written, in which models are trained; others may put a space.
_LAYOUT = {"whitespace_pattern": " ?", "item_separator": ",", "key_separator": ":"}
_MARGIN = 16
_MAX_LOOSE = 1000  # tools that are remembered as told of; a server is offered ever new ones


class UnboundError(ConfigError):
    """No grammar can be had of some calls.

    Args:
        reason: why, without a word of who wanted it; a server has no settings of inference.
    """

    @property
    def reason(self) -> str:
        """Why."""
        return str(self.args[0])

    def __str__(self) -> str:
        """Return it for who has set it."""
        return f"infer.constrained=true: {self.reason}; set it to false"


@dataclass(frozen=True)
class CallGrammar:
    """All calls of some tools.

    Attributes:
        matcher: tracks one answer; a fresh copy is made for each.
        num_tokens: how many tokens the shortest call of any of them takes, about.
        reserve: likewise of the arguments alone.
        closing: which tokens are preferred when so few are left.
    """

    matcher: Any
    num_tokens: int
    reserve: int
    closing: ClosingTokens

    def fresh(self) -> Any:
        """Return a matcher at the beginning of an answer."""
        return self.matcher.deep_copy()


class Constraints:
    """Compiles grammars for a model's tokenizer, each once.

    Args:
        model: the model.
        max_new_tokens: of an answer; None: whatever the shortest call takes.

    Raises:
        UnboundError: llguidance is not installed, or the tokenizer is none of the fast ones.
    """

    def __init__(self, model: LocalModel, max_new_tokens: int | None = None) -> None:
        try:
            self._library = importlib.import_module("llguidance")
            bridge = importlib.import_module("llguidance.hf")
        except ImportError:
            raise UnboundError(
                "llguidance is not installed (\"pip install 'ste-ray[infer]'\" does it)"
            ) from None
        self._model = model
        self._max_new_tokens = max_new_tokens
        try:
            self._tokenizer = bridge.from_tokenizer(
                model.tokenizer, n_vocab=model.num_logits, eos_token=list(model.eos_token_ids)
            )
        except (ValueError, TypeError) as error:
            raise UnboundError(f"it cannot use this tokenizer ({error})") from None
        self._closing: dict[str, ClosingTokens] = {}
        self._grammars: dict[str, CallGrammar] = {}
        #: Tools whose schema says more than the grammar: calls may break it. The first of them.
        self.loose: set[str] = set()

    def grammar(self, tools: Mapping[str, Any]) -> CallGrammar:
        """Return the grammar of all calls of ``tools``: name as it is written -> JSON Schema.

        Raises:
            UnboundError: there is none.
            ConfigError: no call fits into the tokens of an answer.
        """
        key = json.dumps([sorted(tools)], ensure_ascii=False)
        if key not in self._grammars:
            self._grammars[key] = self._fitting(self.compiled(tools))
        return self._grammars[key]

    def native_grammar(
        self, tools: Mapping[str, Any], form: CallForm, marks: Mapping[str, int]
    ) -> CallGrammar:
        """Return the grammar of all native calls of ``tools`` in the form of a chat template.

        Args:
            tools: name as it is written -> JSON Schema.
            form: of the calls.
            marks: text of a token that the form writes -> its id.

        Raises:
            UnboundError: no grammar can say the form.
            ConfigError: no call fits into the tokens of an answer.
        """
        key = json.dumps(["native", sorted(tools)], ensure_ascii=False)
        if key not in self._grammars:
            self._grammars[key] = self._fitting(self.compiled_native(tools, form, marks))
        return self._grammars[key]

    def compiled_native(
        self, tools: Mapping[str, Any], form: CallForm, marks: Mapping[str, int]
    ) -> CallGrammar:
        """Return what ``native_grammar`` does, made anew, and of whatever length.

        Raises:
            UnboundError: no grammar can say the form.
        """
        form = ending_form(
            form, [t for t, one in marks.items() if one in self._model.eos_token_ids]
        )
        whole = {name: self._schema(name, schema) for name, schema in tools.items()}
        schemas = whole if says_all(form) else {n: listed(one) for n, one in whole.items()}
        rules = call_grammar(form, schemas, writer(marks))
        if rules is None:
            raise UnboundError(
                "it cannot bind native calls whose arguments this chat template writes as JSON"
                " within a text"
            )
        if not says_all(form) and self._matcher(rules).get_error():
            # What such a form cannot say of the values within values.
            schemas = {name: listed(one, loosely=True) for name, one in whole.items()}
            rules = call_grammar(form, schemas, writer(marks)) or rules
        calls = {name: shortest_call(name, one, form) for name, one in schemas.items()}
        longest = list(calls.values())
        if not says_all(form):  # of optional arguments some may be written before it is noticed
            longest = [2 * fullest_call(name, one, form) for name, one in schemas.items()]
        reserve = max(map(self._num_tokens, longest)) + _MARGIN
        return self._sized(rules, calls, reserve, value_ends(form))

    def compiled(self, tools: Mapping[str, Any]) -> CallGrammar:
        """Return what ``grammar`` does, made anew, and of whatever length.

        Raises:
            UnboundError: there is none.
        """
        schemas = {name: self._schema(name, schema) for name, schema in sorted(tools.items())}
        rules = [f"start: ({' | '.join(f'call_{n}' for n in range(len(schemas)))})"]
        for number, (name, schema) in enumerate(schemas.items()):
            rules.append(f"call_{number}: {self._name(name)} args_{number}")
            rules.append(f"args_{number}: %json {json.dumps(schema)}")
        arguments = {name: canonical_json(smallest(one)) for name, one in schemas.items()}
        reserve = max(map(self._num_tokens, arguments.values())) + _MARGIN
        calls = {name: f"Action: {name}\nAction Input: {text}" for name, text in arguments.items()}
        return self._sized("\n".join(rules), calls, reserve)

    def _sized(
        self, rules: str, calls: Mapping[str, str], reserve: int, value_ends: str = ""
    ) -> CallGrammar:
        """Return a grammar; ``calls`` has the shortest call of each tool as text."""
        matcher = self._matcher(rules)
        if problem := matcher.get_error():
            told = " ".join(str(problem).split())
            raise UnboundError(f"the calls of {len(calls)} tools are no grammar ({told})")
        longest = max(map(self._num_tokens, calls.values()))
        if value_ends not in self._closing:
            self._closing[value_ends] = ClosingTokens(self._model, value_ends)
        return CallGrammar(matcher, longest, reserve, self._closing[value_ends])

    def _fitting(self, grammar: CallGrammar) -> CallGrammar:
        limit = self._max_new_tokens
        if limit is not None and grammar.num_tokens > limit:
            raise ConfigError(
                f"infer.max_new_tokens={limit!r} is too few for constrained calls: the shortest of"
                f" some tool takes about {grammar.num_tokens} tokens; raise it"
            )
        return grammar

    def _matcher(self, grammar: str) -> Any:
        return self._library.LLMatcher(
            self._tokenizer, self._library.LLMatcher.grammar_from_lark(grammar)
        )

    def _schema(self, name: str, schema: Any) -> dict[str, Any]:
        """Return a schema that the grammar can say, its keys in the order of canonical JSON."""
        for patterns in (True, False):
            wanted = GrammarSchema(schema, patterns=patterns)
            bound = wanted.schema | {"x-guidance": _LAYOUT}
            problem = self._matcher(f"start: %json {json.dumps(bound)}").get_error()
            unsaid = sorted(wanted.unsaid) if patterns else ["pattern"]
            if not problem:
                if unsaid:
                    self._tell(name, f"nothing of {', '.join(unsaid)}")
                return bound
        self._tell(name, "only that they are a JSON object")
        return {**_OPEN_OBJECT, "x-guidance": _LAYOUT}

    def _tell(self, name: str, what: str) -> None:
        if name not in self.loose and len(self.loose) < _MAX_LOOSE:
            self.loose.add(name)
            say(f"tool {name!r}: constrained decoding knows {what} of its parameters")

    def _name(self, name: str) -> str:
        """Return the beginning of a call: a toolken as the one token that it is, or a text."""
        token = self._model.tokenizer.get_added_vocab().get(name)
        head, tail = json.dumps("Action: "), json.dumps("\nAction Input: ")
        if token is not None:
            return f"{head} <[{token}]> {tail}"
        return json.dumps(f"Action: {name}\nAction Input: ")

    def _num_tokens(self, text: str) -> int:
        return len(self._model.tokenizer(text, add_special_tokens=False)["input_ids"])


class GrammarMask:
    """Fulfils the ``LogitsProcessor`` protocol of transformers: forbids what no call goes on with.

    Args:
        model: the model.
        grammars: of each row.
        prompt_width: columns of the prompt.
        max_new_tokens: of an answer.
    """

    def __init__(
        self,
        model: LocalModel,
        grammars: Sequence[CallGrammar],
        prompt_width: int,
        max_new_tokens: int,
    ) -> None:
        self._model = model
        self._kernels: Any = importlib.import_module("llguidance.torch")
        self._matchers = [grammar.fresh() for grammar in grammars]
        self._grammars = grammars
        self._width = prompt_width
        self._max_new_tokens = max_new_tokens

    @cached_property
    def _bitmask(self) -> Any:
        return self._kernels.allocate_token_bitmask(1, self._model.num_logits)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores of shape [rows, vocabulary] with forbidden tokens at minus infinity."""
        new = input_ids[:, self._width :]
        left = self._max_new_tokens - new.shape[1]
        allowed = torch.zeros(scores.shape, dtype=torch.bool)
        for row, matcher in enumerate(self._matchers):
            if new.shape[1] and not matcher.is_stopped():
                matcher.consume_token(int(new[row, -1]))
            if matcher.is_stopped() or matcher.is_error():
                allowed[row, list(self._model.eos_token_ids)] = True
                continue
            self._kernels.fill_next_token_bitmask(matcher, self._bitmask)
            allowed[row] = _unpacked(self._bitmask, scores.shape[1])
            if left <= self._grammars[row].reserve:
                allowed[row] = self._grammars[row].closing.among(allowed[row], left)
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which become the first ones."""
        self._matchers = [self._matchers[row] for row in rows]
        self._grammars = [self._grammars[row] for row in rows]


def _unpacked(bitmask: torch.Tensor, width: int) -> torch.Tensor:
    """Return a row of 32-bit words as booleans."""
    bits = torch.arange(32, dtype=torch.int32)
    return ((bitmask[0, :, None] >> bits) & 1).bool().flatten()[:width]
