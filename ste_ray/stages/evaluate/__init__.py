"""The evaluate stage: predictions are scored, where asked for with the scorer's help."""
