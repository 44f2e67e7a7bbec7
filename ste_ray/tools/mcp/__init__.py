"""Tools of MCP servers: their processes, sessions, descriptions and calls."""
