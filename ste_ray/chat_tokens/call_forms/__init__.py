"""How a chat template writes calls of tools: derived from what it renders, and proven."""
