"""Reads the files of others: the published study's training data, general instruction data."""
