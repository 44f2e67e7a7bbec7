"""What models reply, read: calls, verdicts, reasoning, and where a reply ends."""
