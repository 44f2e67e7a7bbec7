"""From trials to training data: judge, select, paraphrase, format, mix, and the ledger."""
