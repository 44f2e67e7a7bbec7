"""Tools that are Python functions: killable worker processes, and what signatures say."""
