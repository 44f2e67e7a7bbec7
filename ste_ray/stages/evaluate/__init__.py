"""The evaluate stage: predictions are scored, where asked for with a judge's help."""
