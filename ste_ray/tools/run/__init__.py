"""Every call of a tool goes through here: checks, gates, secrets, recording, executors."""
