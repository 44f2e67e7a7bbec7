"""Brings a trained run up to date with its tools: no stage, but a run made of another one."""
