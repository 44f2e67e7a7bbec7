"""Shortens a documented sentence to what a person would ask for.

Documentation lists everything a tool does; a person asks for a part of it. Everything here works on
the shape of English sentences, not on what they are about.
"""

from __future__ import annotations

import random
import re

from ste_ray.simulated_provider.teacher.words import fix_articles

_END = re.compile(r"(?<=[\w)'\"])[.;:](?=\s|$)")
_GIVEN = re.compile(r"\b(?:given|specified|provided|supplied|requested) (?=[a-z])", re.I)
_ACRONYM = re.compile(r"\b(?P<article>an?|the) (?P<phrase>[a-z][\w -]+?) \((?P<short>[A-Z]{2,6})\)")
_ASIDE = re.compile(r"\s*(?:\([^)]*\)|\[[^]]*\])")
_EXAMPLES = re.compile(
    r",? (?:for example|for instance|such as|e\.g\.|including|in one of many|in any of|in many|"
    r"or any other|as JSON|in JSON)\b.*$"
)
# What a sentence adds at its end, and how often a person asks for it too.
_ADDITIONS = (
    (re.compile(r",? and (?:returns?|names?|gives?|tells?|says?|shows?|lists?|reports?) .+$"), 0.4),
    (re.compile(r",? and (?:its|their) .+$"), 0.4),
    (re.compile(r",? with (?:its|their) .+$"), 0.5),
    (re.compile(r", as .+$"), 0.4),
)
_VERB_AFTER_AND = re.compile(r"\band (return|name|give|tell|say|show|list|report)s\b")
_ALTERNATIVES = re.compile(r"(?P<items>[A-Za-z-]+(?:, [A-Za-z-]+)*,? or [A-Za-z-]+)\b")
_ITEM = r"[\w-]+(?: [\w-]+){0,2}"
_LIST = re.compile(rf"\bthe (?P<items>{_ITEM}(?:, {_ITEM})+,? and {_ITEM}?) of\b")


def condense(description: str, rng: random.Random) -> str:
    """Return the first sentence of a description, shortened as a person would."""
    sentence = _END.split(description.strip())[0].strip()
    sentence = _ACRONYM.sub(lambda match: _short_or_long(match, rng), sentence)
    if rng.random() < 0.8:
        sentence = _ASIDE.sub("", sentence)
    sentence = _EXAMPLES.sub("", _GIVEN.sub("", sentence))
    for pattern, share in _ADDITIONS:
        if rng.random() >= share:
            sentence = pattern.sub("", sentence)
    sentence = _VERB_AFTER_AND.sub(r"and \1", sentence)
    sentence = _LIST.sub(lambda match: _some_of(match, rng), sentence)
    if rng.random() < 0.6:
        sentence = re.sub(r"\b(the [\w ]+?) that (?:lies|stands|falls|is) ", r"\1 ", sentence)
    return fix_articles(sentence)


def _short_or_long(match: re.Match[str], rng: random.Random) -> str:
    return f"{match['article']} {rng.choice((match['short'], match['short'], match['phrase']))}"


def _some_of(match: re.Match[str], rng: random.Random) -> str:
    """Return a few of the things in a list, as a person wants one or two of them."""
    items = re.split(r", (?:and )?| and ", match["items"])
    count = rng.choice((1, 1, 2, 2, 3, len(items)))
    chosen = [item for item in items if item in rng.sample(items, min(count, len(items)))]
    chosen = chosen or items[:1]
    listed = " and ".join(filter(None, (", ".join(chosen[:-1]), chosen[-1])))
    return f"the {listed} of"


def choose_direction(text: str, backwards: bool) -> str:
    """Return a text with "after or before" decided."""
    word = "before" if backwards else "after"
    return re.sub(r"\b(?:after or before|before or after)\b", word, text)


def enumerations(text: str) -> list[re.Match[str]]:
    """Return the places where a text offers alternatives: "days, weeks or months"."""
    return list(_ALTERNATIVES.finditer(text)) if " or " in text else []
