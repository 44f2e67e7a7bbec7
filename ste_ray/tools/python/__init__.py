"""Tools that are Python functions: killable worker processes, and specifications from signatures."""
