"""Reads what others made: the published study's data, general data, test sets, GGUF models."""
