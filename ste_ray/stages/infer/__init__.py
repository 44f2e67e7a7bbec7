"""The infer stage on Ray Data: the models answer the test split, before and after training."""
