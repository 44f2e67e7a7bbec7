"""Training rows as token ids: the dialog as context, labels on the response and its end alone.

Rows and token ids are Arrow tables on both sides, because millions of them pass through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from ste_ray.chat_tokens.encoding import ChatEncoder
from ste_ray.core.preparing.native_rows import general_dialog
from ste_ray.core.records import Message, TrainRow
from ste_ray.errors import StageInputError
from ste_ray.training.chat_format import ChatFormat
from ste_ray.training.native_form import NativeForm, UnwritableRowError

# That are read.
ROW_COLUMNS = ["row_id", "example_id", "tool", "split", "kind", "dialog_history", "response"]
# ``input_ids`` is empty where a row is longer than is allowed, or cannot be written.
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

# Why a row cannot be written in the native form; empty where it can.
REFUSED = "refused"
_Ids = tuple[list[int], list[int]]  # of the prompt and of the response


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
        native: writes rows in the native form; None: they are in the form with toolkens. General
            data are written alike in both.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        max_tokens: int,
        too_long: Literal["skip", "truncate"] = "skip",
        *,
        no_call_tokens: int = 0,
        native: NativeForm | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._format = ChatFormat(tokenizer)
        self._encoder = ChatEncoder(tokenizer, self._format.prompt)
        self._max_tokens = max_tokens
        self._too_long = too_long
        self._no_call_tokens = no_call_tokens
        self._native = native

    def tokenise(self, row: TrainRow) -> TokenisedRow:
        """Return one row, whatever its length.

        Raises:
            StageInputError: it cannot be written in the native form.
        """
        (found,) = self._encode([row])
        if isinstance(found, UnwritableRowError):
            raise StageInputError(f"row {row.row_id!r} cannot be written: {found}")
        prompt, response = found
        return TokenisedRow(row.row_id, [*prompt, *response], len(prompt))

    def tokenise_table(self, table: pa.Table) -> pa.Table:
        """Return a table of ``ROW_COLUMNS`` of training rows as one of ``TOKENISED``.

        In the native form it has a column ``REFUSED`` too.
        """
        found = self._encode([_row(fields) for fields in table.to_pylist()])
        refused = [str(one) if isinstance(one, UnwritableRowError) else "" for one in found]
        pairs = [([], []) if isinstance(one, UnwritableRowError) else one for one in found]
        rows = [self._fit(*parts) for parts in pairs]
        tokenised = pa.table(
            {
                "row_id": table["row_id"],
                "split": table["split"],
                "kind": table["kind"],
                "num_tokens": [len(prompt) + len(response) for prompt, response in pairs],
                "prompt_tokens": [prompt_tokens for _, prompt_tokens, _ in rows],
                "truncated": [truncated for *_, truncated in rows],
                "input_ids": [ids for ids, *_ in rows],
            },
            schema=TOKENISED,
        )
        if self._native is None:
            return tokenised
        return tokenised.append_column(REFUSED, pa.array(refused, pa.string()))

    def _encode(self, rows: Sequence[TrainRow]) -> list[_Ids | UnwritableRowError]:
        """Return prompt and response of each row, cut where only its beginning is trained."""
        if self._native is None:
            found = iter(self._as_text([row.messages for row in rows]))
            return [self._trained(row, next(found)) for row in rows]
        general = [row for row in rows if row.kind == "general"]
        as_text = iter(self._as_text([general_dialog(row) for row in general]))
        native = iter(self._native.encoded([row for row in rows if row.kind != "general"]))
        return [
            self._trained(row, next(as_text if row.kind == "general" else native)) for row in rows
        ]

    def _as_text(self, dialogs: Sequence[Sequence[Message]]) -> list[_Ids]:
        prompts = self._encoder.dialogs([dialog[:-1] for dialog in dialogs])
        answers = self._encoder.answers([dialog[-1].content for dialog in dialogs])
        return [
            (prompt, [*answer, self._format.end_id])
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _trained(
        self, row: TrainRow, found: _Ids | UnwritableRowError
    ) -> _Ids | UnwritableRowError:
        """Return what is trained of a row: all, or the beginning of its response.

        The row of a tool that is not there keeps all of its answer, which is the project's own.
        """
        most = self._no_call_tokens
        if isinstance(found, UnwritableRowError) or not most:
            return found
        prompt, response = found
        return (prompt, response[:most]) if row.kind == "no_call" and not row.tool else found

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


def _row(fields: dict[str, Any]) -> TrainRow:
    """Return a table's row, whose fields are not checked again."""
    dialog = tuple(Message.of_row(message) for message in fields["dialog_history"])
    return TrainRow.model_construct(**{**fields, "dialog_history": dialog})
