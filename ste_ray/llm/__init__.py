"""The OpenAI-compatible chat client, and the scripted teacher that can stand in for a model."""
