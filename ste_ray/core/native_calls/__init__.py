"""Calls of tools in the form that a chat template writes them: described, read, written."""
