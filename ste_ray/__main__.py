"""``python -m ste_ray`` is ``ste-ray``."""

from ste_ray.cli.entry import entry

entry()
