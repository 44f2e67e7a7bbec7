"""Takes the paths of this machine out of texts that are handed on, such as cards of data sets."""

from __future__ import annotations

import re

# Two parts at least: a slash alone, or "and/or", is no path.
_PATH = re.compile(
    r"(?<![\w/:.~<-])(?:file://|~)?/(?:[^\s/'\"`,;:()<>|]+/)+(?P<name>[^\s/'\"`,;:()<>|]*)"
)
_ABSOLUTE = re.compile(r"(?:file:|/|~|\.{1,2}/)")


def without_paths(text: str) -> str:
    """Return ``text`` with each path of a file or folder as its last part alone."""
    return _PATH.sub(lambda match: match["name"] or "…", text)


def public_name(name: str) -> str:
    """Return the name of a model, which may be a path, without where it lies on this machine."""
    return name.rstrip("/").rpartition("/")[2] if _ABSOLUTE.match(name) else name


def is_local(uri: str) -> bool:
    """Whether a run lies in a folder of this machine."""
    return "://" not in uri or uri.startswith("file:")
