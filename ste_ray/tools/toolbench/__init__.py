"""Tools of ToolBench and of the published study: their descriptions, and their servers."""
