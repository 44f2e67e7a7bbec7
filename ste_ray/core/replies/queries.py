"""Taking an imagined or reworded query out of a reply. All regular expressions are linear."""

from __future__ import annotations

import re

from ste_ray.core.replies.markers import find_markers

_QUERY_LABEL = re.compile(
    r"^[ \t>*_#`-]*+(?:user[ \t]++)?(?:query|request)[ \t*_`]*+:(?:\*\*)?",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTES = (("```", "```"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("`", "`"))
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


def clean_query(text: str) -> str:
    """Take the imagined query out of a reply: no label, no quotes around it, nothing after it.

    It ends before the first line with a marker such as "Thought:", or with another query label.
    Returns an empty string where nothing is left.
    """
    text = _drop_query_label(text.strip())
    ends = [marker.start for marker in find_markers(text)[:1]]
    ends += [match.start() for match in [_QUERY_LABEL.search(text)] if match]
    query = text[: min(ends, default=len(text))].strip()
    return _drop_query_label(_unquote(query))


def _drop_query_label(text: str) -> str:
    for _ in range(2):  # a reply may repeat the label that ends its prompt
        if label := _QUERY_LABEL.match(text):
            text = _unquote(text[label.end() :].strip())
    return text


def _unquote(text: str) -> str:
    for left, right in _QUOTES:
        if len(text) > len(left + right) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            # '"A" or "B"' is not one quotation; an apostrophe within a word closes none.
            if not any(mark in _APOSTROPHE.sub("", inner) for mark in {left, right}):
                return inner.strip()
    return text
