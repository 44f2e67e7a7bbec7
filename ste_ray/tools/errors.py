"""The error a tool raises to tell the model, in its own words, what went wrong.

Nothing else is imported here, so that a tool module can use it at no cost.
"""

from __future__ import annotations


class ToolError(Exception):
    """A tool cannot answer; the message becomes the observation exactly as it is written.

    Any other exception that leaves a tool is shown as ``TypeName: message``.
    """
