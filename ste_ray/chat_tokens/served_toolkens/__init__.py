"""What the folder of a model with toolkens carries, so that any server serves it with tools."""
