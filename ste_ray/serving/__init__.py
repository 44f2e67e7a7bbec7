"""A trained model behind an OpenAI-compatible endpoint: requests checked, replies read."""
