"""ste-ray: simulated trial and error for tool-using language models, on Ray.

Bring tools, let a language model explore them by really calling them, and get back a model
that calls them accurately, with a report that proves how accurately.
"""

__version__ = "0.1.0"
