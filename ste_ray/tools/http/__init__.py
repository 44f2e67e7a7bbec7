"""Tools behind HTTP: declared requests, with guarded addresses and capped replies."""
