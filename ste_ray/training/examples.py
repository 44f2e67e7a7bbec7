"""Training rows as token ids: the dialog as context, labels on the response and its end alone.

Rows and token ids are Arrow tables on both sides, because millions of them pass through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from ste_ray.chat_tokens.encoding import ChatEncoder
from ste_ray.core.records import Message, TrainRow
from ste_ray.training.chat_format import ChatFormat

ROW_COLUMNS = ["row_id", "tool", "split", "kind", "dialog_history", "response"]  # that are read
# ``input_ids`` is empty where a row is longer than is allowed.
TOKENISED = pa.schema(
    [
        ("row_id", pa.string()),
        ("split", pa.string()),
        ("kind", pa.string()),
        ("num_tokens", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("input_ids", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True, slots=True)
class TokenisedRow:
    """A training row as token ids: ``prompt_tokens`` of context, then the labels."""

    row_id: str
    input_ids: Sequence[int]
    prompt_tokens: int

    @property
    def label_tokens(self) -> int:
        """The number of tokens that carry loss."""
        return len(self.input_ids) - self.prompt_tokens


class RowTokenizer:
    """Tokenises training rows.

    The dialog ends as a prompt at inference ends and the response is tokenised apart from it, so
    the model is trained on exactly what it will see.

    Args:
        tokenizer: the model's, with all toolkens added.
        max_tokens: the longest row.
        too_long: what becomes of longer ones: they are skipped, or their dialog is truncated from
            the left. A response is never cut: a row whose response alone is too long is skipped.
        no_call_tokens: how much of the answer to a general request a no-call row keeps: its first
            tokens, without an end; 0: all of it and its end.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        max_tokens: int,
        too_long: Literal["skip", "truncate"] = "skip",
        *,
        no_call_tokens: int = 0,
    ) -> None:
        self._tokenizer = tokenizer
        self._format = ChatFormat(tokenizer)
        self._encoder = ChatEncoder(tokenizer, self._format.prompt)
        self._max_tokens = max_tokens
        self._too_long = too_long
        self._no_call_tokens = no_call_tokens

    def tokenise(self, row: TrainRow) -> TokenisedRow:
        """Return one row, whatever its length."""
        prompts, responses = self._encode([row.dialog_history], [row.response])
        (response,) = self._trained(responses, [row.kind], [row.tool])
        return TokenisedRow(row.row_id, [*prompts[0], *response], len(prompts[0]))

    def tokenise_table(self, table: pa.Table) -> pa.Table:
        """Return a table of ``ROW_COLUMNS`` of training rows as one of ``TOKENISED``."""
        dialogs = [
            [Message.of_row(message) for message in dialog]
            for dialog in table["dialog_history"].to_pylist()
        ]
        prompts, responses = self._encode(dialogs, table["response"].to_pylist())
        kinds, tools = table["kind"].to_pylist(), table["tool"].to_pylist()
        responses = self._trained(responses, kinds, tools)
        rows = [self._fit(*parts) for parts in zip(prompts, responses, strict=True)]
        return pa.table(
            {
                "row_id": table["row_id"],
                "split": table["split"],
                "kind": table["kind"],
                "num_tokens": [
                    len(prompt) + len(response)
                    for prompt, response in zip(prompts, responses, strict=True)
                ],
                "prompt_tokens": [prompt_tokens for _, prompt_tokens, _ in rows],
                "truncated": [truncated for *_, truncated in rows],
                "input_ids": [ids for ids, *_ in rows],
            },
            schema=TOKENISED,
        )

    def _encode(
        self, dialogs: Sequence[Sequence[Message]], responses: Sequence[str]
    ) -> tuple[list[list[int]], list[list[int]]]:
        prompts = self._encoder.dialogs(dialogs)
        answers = self._encoder.answers(responses)
        return prompts, [[*answer, self._format.end_id] for answer in answers]

    def _trained(
        self, responses: Sequence[list[int]], kinds: Sequence[str], tools: Sequence[str]
    ) -> list[list[int]]:
        """Return the responses, cut where only their beginning is trained.

        The row of a tool that is not there keeps all of its answer, which is the project's own.
        """
        most = self._no_call_tokens
        return [
            ids[:most] if most and kind == "no_call" and not tool else ids
            for ids, kind, tool in zip(responses, kinds, tools, strict=True)
        ]

    def _fit(self, prompt: list[int], response: list[int]) -> tuple[list[int], int, bool]:
        """Return ids, prompt tokens and whether the dialog was truncated; no ids: does not fit."""
        room = self._max_tokens - len(response)
        if len(prompt) <= room:
            return [*prompt, *response], len(prompt), False
        if self._too_long == "skip" or room < 2:
            return [], len(prompt), False
        bos = self._tokenizer.bos_token_id
        kept = prompt[:1] if bos is not None and prompt[0] == bos else []
        kept = [*kept, *prompt[len(prompt) - room + len(kept) :]]
        return [*kept, *response], len(kept), True
