"""A loaded model as it is served: what it is shown, how its tokens are chosen, what it may call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import GenerationConfig

from ste_ray.core.texts.safe_names import safe_name
from ste_ray.serving.decoding import Asked
from ste_ray.serving.penalties import Penalties
from ste_ray.serving.requests import ChatRequest, RequestError
from ste_ray.serving.sampling import asked_config, with_biases

DEFAULT_NEW_TOKENS = 1024  # of a reply to a request that does not say, as ``transformers serve``
#: Makes what binds a reply to calls of some of the offered tools, given these, the names of which
#: one must be called, and the most tokens. Raises ``RequestError``.
Binder = Callable[[Sequence[Mapping[str, Any]], Sequence[str], int, int], Any]
#: Writes the prompt of a request as token ids. Raises ``RequestError``.
Writer = Callable[[ChatRequest], list[int]]


@dataclass(frozen=True)
class ServedModel:
    """A model that is served.

    Attributes:
        name: by which clients ask for it.
        model: of transformers, with its own generation configuration.
        tokenizer: its tokenizer.
        max_positions: the most tokens of prompt and reply; None: no limit.
        template: by which replies are read; None: calls cannot be read.
        write: writes prompts.
        bind: binds replies to calls.
        toolkens: ids of the tokens that stand for tools, by the tools' true names; empty: it calls
            in another form.
        call_tokens: ids of tokens that begin a call of any tool.
        trained: the functions that it was trained on, by name; empty: its folder does not say.
    """

    name: str
    model: Any
    tokenizer: Any
    max_positions: int | None
    template: Mapping[str, Any] | None
    write: Writer
    bind: Binder
    toolkens: Mapping[str, int] = field(default_factory=dict)
    call_tokens: Sequence[int] = ()
    trained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def learned(self) -> dict[str, str]:
        """True names of the tools that have a toolken, by each name that requests may use."""
        return learned_names(self.toolkens)

    @property
    def known_names(self) -> frozenset[str] | None:
        """Names in requests of the tools that it has learned; None: its folder does not say."""
        return frozenset(self.learned or self.trained) or None

    def names_of(self, request: ChatRequest) -> dict[str, str]:
        """Return the name in a request of each tool that the model writes by another one."""
        learned = self.learned
        offered = [one["function"]["name"] for one in request.offered]
        found = {learned[name]: name for name in offered if name in learned}
        return {true: name for true, name in found.items() if true not in offered}

    def asked(self, request: ChatRequest) -> Asked:
        """Return what is to be decoded for a request.

        Raises:
            RequestError: it cannot be honoured.
        """
        if request.offered and self.template is None:
            raise RequestError(
                "tools: this folder does not say how calls are read (response_template of its"
                " tokenizer); leave the tools out, or serve a folder that was trained on calls",
                "tools",
            )
        prompt = self.write(request)
        config = self._config(request, self._num_new(request, len(prompt)))
        processors: list[Any] = []
        if request.frequency_penalty or request.presence_penalty:
            processors.append(
                Penalties(
                    len(prompt), request.frequency_penalty or 0.0, request.presence_penalty or 0.0
                )
            )
        if request.forced:
            limit = config.max_new_tokens
            processors.append(self.bind(request.offered, request.forced, len(prompt), limit))
        return Asked(prompt, config, processors, request.seed)

    def _num_new(self, request: ChatRequest, num_prompt: int) -> int:
        """Return how many tokens the reply may have."""
        wanted, limit = request.max_new_tokens, self.max_positions
        if limit is None:
            return wanted or DEFAULT_NEW_TOKENS
        if num_prompt + (wanted or 1) > limit:
            more = f" and {wanted} of the reply (max_tokens)" if wanted else ", and the reply's"
            raise RequestError(
                f"messages: the conversation has {num_prompt} tokens{more}; the model takes"
                f" {limit} in all; shorten it{' or lower max_tokens' if wanted else ''}",
                "messages",
                "context_length_exceeded",
            )
        return wanted or min(DEFAULT_NEW_TOKENS, limit - num_prompt)

    def _config(self, request: ChatRequest, num_new: int) -> GenerationConfig:
        config = asked_config(self.model.generation_config, request)
        config.max_new_tokens = num_new
        banned = self._banned(request)
        if banned:
            config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned})
        if biases := request.biases:
            beyond = [token for token in biases if token >= self._num_tokens]
            if beyond:
                raise RequestError(
                    f"logit_bias: {beyond[0]} is no token; they are 0 to {self._num_tokens - 1}",
                    "logit_bias",
                )
            config.sequence_bias = with_biases(config.sequence_bias, biases)
        return config

    def _banned(self, request: ChatRequest) -> set[int]:
        """Return the tokens with which a tool would be called that is not offered."""
        learned = self.learned
        offered = {one["function"]["name"] for one in request.offered}
        callable_ones = {learned[name] for name in offered if name in learned}
        banned = {token for name, token in self.toolkens.items() if name not in callable_ones}
        return banned | (set() if offered else set(self.call_tokens))

    @property
    def _num_tokens(self) -> int:
        return int(self.model.get_output_embeddings().weight.shape[0])


def learned_names(toolkens: Iterable[str]) -> dict[str, str]:
    """Return true names of tools by each name that requests may use: safe names and themselves."""
    names = list(toolkens)
    return {safe_name(name): name for name in names} | {name: name for name in names}
