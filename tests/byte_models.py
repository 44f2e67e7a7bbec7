"""Tiny Llamas over bytes, for tests: a tokenizer, random weights, and learning by heart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

#: Token ids of a row, and which of them are to be learned.
Row = tuple[Sequence[int], Sequence[bool]]


def byte_tokenizer(
    texts: Sequence[str],
    vocab_size: int,
    chat_template: str | None = None,
    ends: tuple[str, str] = ("<bos>", "<eos>"),
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of ``texts``, which can say any text."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", *ends],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    bos, eos = ends
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token=bos,
        eos_token=eos,
        chat_template=chat_template,
    )


def byte_llama(
    tokenizer: PreTrainedTokenizerFast,
    *,
    width: int = 64,
    num_layers: int = 2,
    positions: int = 1024,
    seed: int = 0,
) -> LlamaForCausalLM:
    """Return a Llama with random weights and a row for each token."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=num_layers,
            num_attention_heads=width // 16,
            num_key_value_heads=width // 16,
            max_position_embeddings=positions,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def answer_row(prompt: Sequence[int], answer: Sequence[int]) -> Row:
    """Return a row of which the answer is to be learned."""
    return [*prompt, *answer], [False] * len(prompt) + [True] * len(answer)


def learn_by_heart(
    model: LlamaForCausalLM, rows: Sequence[Row], *, learning_rate: float = 3e-3, steps: int = 200
) -> None:
    """Train a model until it says what it is to learn, with one thread: it is small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _learn(model, rows, learning_rate, steps)
    finally:
        torch.set_num_threads(threads)


def _learn(model: LlamaForCausalLM, rows: Sequence[Row], learning_rate: float, steps: int) -> None:
    width = max(len(ids) for ids, _ in rows)
    batch = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for place, (ids, is_label) in enumerate(rows):
        own = torch.tensor(ids)
        batch[place, : len(own)] = own
        labels[place, : len(own)] = own.where(torch.tensor(is_label), torch.tensor(-100))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    for _ in range(steps):
        loss = model(input_ids=batch, labels=labels).loss
        if loss.item() < 0.02:
            return
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05, loss.item()
