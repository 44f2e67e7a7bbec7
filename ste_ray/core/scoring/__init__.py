"""Scores and their statistics: strict rules, the rules of the study, free texts, rounds."""
