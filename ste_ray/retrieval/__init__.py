"""Embedding texts and finding the nearest ones, for demonstrations and candidate tools."""
