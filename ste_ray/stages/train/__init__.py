"""The train stage on Ray Train: a base model is fine-tuned, with one toolken a tool."""
