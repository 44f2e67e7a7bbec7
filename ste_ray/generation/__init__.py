"""Batched decoding with a local model."""
