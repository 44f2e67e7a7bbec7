"""Tells trackers of experiments of a run's figures, and OpenTelemetry of what explorers do."""
