"""Arguments and schemas are checked here, for a limited time."""
