"""Tool specifications, the executors that call tools, and the built-in tool families."""
