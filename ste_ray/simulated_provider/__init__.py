"""An OpenAI-compatible chat endpoint for trials: limits, faults, latency; a script answers."""
