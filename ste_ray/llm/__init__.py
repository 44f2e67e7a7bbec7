"""OpenAI-compatible chat clients: endpoints, retries, refusals, prices, and a local server."""
