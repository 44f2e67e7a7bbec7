"""Dialogs with native calls: as a template takes and writes them, as token ids with labels."""
