"""Simulated trial and error as flows: trials, episodes, memory, estimates."""
