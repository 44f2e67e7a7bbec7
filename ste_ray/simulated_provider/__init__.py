"""An OpenAI-compatible chat endpoint to try against: limits, faults, latency; a script answers."""
