"""A tiny Llama with random weights and a tokenizer, as save_pretrained writes them."""

from __future__ import annotations

from pathlib import Path

TEXTS = [f"user asks {n} and Action: add Final Answer: {n}" for n in range(50)]


def save_tiny_model(folder: Path) -> Path:
    from ste_ray.training.config import ModelConfig
    from ste_ray.training.model import build_model
    from ste_ray.training.tokenizer import train_tokenizer

    config = ModelConfig(
        vocab_size=400, hidden_size=32, num_layers=2, num_heads=2, max_positions=512
    )
    tokenizer = train_tokenizer(TEXTS, vocab_size=400, max_positions=512)
    model = build_model(config, tokenizer, seed=0)
    model.config.use_cache = True
    model.generation_config.do_sample = True  # or it says the same token, unseen, for ever
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
