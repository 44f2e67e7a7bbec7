"""``python -m ste_ray`` is ``ste-ray``."""

from ste_ray.entry import entry

entry()
