"""No stage: a trained model served to clients, with the parts that decode and read; without Ray."""
