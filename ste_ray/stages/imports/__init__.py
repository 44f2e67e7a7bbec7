"""Runs made of data that others made."""
