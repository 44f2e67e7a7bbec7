"""Tool files and what a tool in them must fulfil."""
