"""Dialogs as a model's chat template writes them, and as token ids."""
