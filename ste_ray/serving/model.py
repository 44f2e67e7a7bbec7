"""A loaded model as it is served: what it is shown, how its tokens are chosen, what it may call."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError
from transformers import GenerationConfig

from ste_ray.chat_tokens.structure import structure_tokens
from ste_ray.core.records import Message
from ste_ray.serving.decoding import Asked
from ste_ray.serving.penalties import Penalties
from ste_ray.serving.requests import ChatMessage, ChatRequest, RequestError

DEFAULT_NEW_TOKENS = 1024  # of a reply to a request that does not say, as ``transformers serve``
# What a template is given in any case, or would do another thing with.
_RESERVED = frozenset(
    {"tools", "messages", "conversation", "tokenize", "return_dict", "return_tensors"}
    | {"add_generation_prompt", "continue_final_message", "chat_template", "documents"}
)
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, KeyError, AttributeError)

#: Makes what binds a reply to calls of some of the offered tools, given these, the names of which
#: one must be called, and the most tokens. Raises ``RequestError``.
Binder = Callable[[Sequence[Mapping[str, Any]], Sequence[str], int, int], Any]


@dataclass(frozen=True)
class ServedModel:
    """A model that is served.

    Attributes:
        name: by which clients ask for it.
        model: of transformers, with its own generation configuration.
        tokenizer: its tokenizer.
        max_positions: the most tokens of prompt and reply; None: no limit.
        template: by which replies are read; None: calls cannot be read.
        toolkens: ids of the tokens that stand for tools, by the tools' names in requests.
        call_tokens: ids of tokens that begin a call of any tool.
        trained: the functions that it was trained on, by name; empty: its folder does not say.
        bind: binds replies to calls.
    """

    name: str
    model: Any
    tokenizer: Any
    max_positions: int | None
    template: Mapping[str, Any] | None
    bind: Binder
    toolkens: Mapping[str, int] = field(default_factory=dict)
    call_tokens: Sequence[int] = ()
    trained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def callable_names(self) -> frozenset[str] | None:
        """The only tools that it can call; None: any that is offered."""
        return frozenset(self.toolkens) or None

    def prompt(self, request: ChatRequest) -> list[int]:
        """Return the token ids of a conversation, up to where the reply begins.

        Raises:
            RequestError: the chat template refuses it, or it is too long.
        """
        options = request.chat_template_kwargs or {}
        if taken := sorted(_RESERVED & options.keys()):
            raise RequestError(
                f"chat_template_kwargs: {taken[0]!r} is set by the server; leave it out",
                "chat_template_kwargs",
            )
        try:
            ids = self.tokenizer.apply_chat_template(
                [self._message(one) for one in request.messages],
                tools=request.offered or None,
                add_generation_prompt=True,
                return_dict=True,
                tokenize=True,
                **options,
            )["input_ids"]
        except _TEMPLATE_ERRORS as error:
            told = " ".join(str(error).split())
            roles = ", ".join(one.role for one in request.messages)
            raise RequestError(
                f"messages: the model's chat template refuses a conversation of {roles} with"
                f" {len(request.offered)} tools: {told}",
                "messages",
            ) from None
        return list(ids)

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
        prompt = self.prompt(request)
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
        config = copy.deepcopy(self.model.generation_config)
        config.max_length = None
        config.max_new_tokens = num_new
        if request.temperature is not None:
            config.do_sample = request.temperature > 0
            config.temperature = request.temperature if config.do_sample else None
        if request.top_p is not None:
            config.top_p = request.top_p
        if not config.do_sample:  # or they are warned of at each request
            config.temperature = config.top_p = config.top_k = None
        banned = self._banned(request)
        if banned:
            config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned})
        if request.logit_bias:
            beyond = [token for token in request.logit_bias if not 0 <= token < self._num_tokens]
            if beyond:
                raise RequestError(
                    f"logit_bias: {beyond[0]} is no token; they are 0 to {self._num_tokens - 1}",
                    "logit_bias",
                )
            config.sequence_bias = [[[one], bias] for one, bias in request.logit_bias.items()]
        return config

    def _banned(self, request: ChatRequest) -> set[int]:
        """Return the tokens with which a tool would be called that is not offered."""
        offered = {one["function"]["name"] for one in request.offered}
        banned = {token for name, token in self.toolkens.items() if name not in offered}
        return banned | (set() if offered else set(self.call_tokens))

    @property
    def _num_tokens(self) -> int:
        return int(self.model.get_output_embeddings().weight.shape[0])

    def _message(self, message: ChatMessage) -> dict[str, Any]:
        """Return a message as chat templates take it, its content text whatever it holds."""
        role = "system" if message.role == "developer" else message.role
        tokens = structure_tokens(self.tokenizer, len(self.tokenizer))
        said = Message.model_construct(role=role, content=message.text)
        found: dict[str, Any] = {"role": role, "content": tokens.escape(said).content}
        if message.reasoning_content:
            found["reasoning_content"] = message.reasoning_content
        if message.tool_calls:
            found["tool_calls"] = [
                {
                    "id": one.id,
                    "type": "function",
                    "function": {
                        "name": one.function.name,
                        "arguments": json.loads(one.function.arguments),
                    },
                }
                for one in message.tool_calls
            ]
        for name in ("tool_call_id", "name"):
            if (value := getattr(message, name)) is not None:
                found[name] = value
        return found
