"""Other words for what descriptions of tools say, by rule: verbs at their beginning, and phrases.

They are English. A description in which no rule finds anything is put into a frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# How descriptions begin; either form of the verb finds the other words in that form.
_VERBS: dict[str, tuple[str, ...]] = {
    "Adds": ("Puts in", "Enters"),
    "Books": ("Reserves", "Makes a booking of"),
    "Builds": ("Puts together", "Constructs"),
    "Calculates": ("Works out", "Determines"),
    "Cancels": ("Calls off", "Revokes"),
    "Checks": ("Verifies", "Examines"),
    "Computes": ("Works out", "Determines"),
    "Converts": ("Turns", "Translates"),
    "Counts": ("Reckons", "Works out"),
    "Creates": ("Makes", "Sets up"),
    "Deletes": ("Removes", "Erases"),
    "Estimates": ("Gauges", "Works out about"),
    "Fetches": ("Retrieves", "Obtains"),
    "Finds": ("Looks up", "Locates"),
    "Forecasts": ("Predicts", "Foretells"),
    "Generates": ("Produces", "Makes"),
    "Gets": ("Fetches", "Looks up"),
    "Gives": ("Provides", "Tells"),
    "Lists": ("Enumerates", "Names all of"),
    "Looks up": ("Finds", "Searches for"),
    "Makes": ("Produces", "Creates"),
    "Names": ("Tells", "Identifies"),
    "Provides": ("Gives", "Supplies"),
    "Reads": ("Takes in", "Interprets"),
    "Removes": ("Deletes", "Takes away"),
    "Retrieves": ("Fetches", "Obtains"),
    "Returns": ("Gives back", "Provides"),
    "Says": ("Tells", "States"),
    "Searches": ("Looks through", "Goes through"),
    "Sends": ("Delivers", "Dispatches"),
    "Shows": ("Presents", "Displays"),
    "Tells": ("Says", "Reports"),
    "Translates": ("Renders", "Puts into another language"),
    "Updates": ("Changes", "Brings up to date"),
    "Writes": ("Puts down", "Sets down"),
}
_PHRASES: dict[str, tuple[str, ...]] = {
    r"\b(\w+) if left out\b": (r"\1 unless it is given", r"\1 by default"),
    r"\bnumber of\b": ("count of", "how many of the"),
    r"\bto look up\b": ("that is asked about", "to find out about"),
    r"\bto convert\b": ("that is to be converted",),
    r"\bsuch as\b": ("for instance",),
    r"\be\.g\.": ("for example",),
    r"\bfor example\b": ("such as",),
    r"\bdefaults to\b": ("is, unless given,",),
    r"\bbetween two\b": ("from one to the other of two",),
    r"\band returns\b": ("and gives back", "and answers with"),
    r"\band names\b": ("and tells", "and identifies"),
    r"\bthe user\b": ("the person who asks",),
    r"\ba list of\b": ("several", "all"),
    r"\boptional\b": ("not required", "may be left out"),
    r"\bcode of\b": ("code that stands for",),
    r"\bname of\b": ("name that belongs to",),
}
_FRAMES = ("What is meant: {}", "In other words: {}", "That is: {}")

Choose = Callable[[str, int], int]  # what is chosen for, how many there are -> which


def paraphrased(text: str, choose: Choose) -> str:
    """Return a description in other words; it differs from what was given.

    Args:
        text: the description.
        choose: draws one of several.
    """
    found = _begun_otherwise(text, choose)
    for pattern, others in _PHRASES.items():
        found = re.sub(pattern, others[choose(pattern, len(others))], found)
    return found if found != text else _FRAMES[choose("frame", len(_FRAMES))].format(text)


def _begun_otherwise(text: str, choose: Choose) -> str:
    for verb, others in _VERBS.items():
        for shown, forms in ((verb, others), (_bare(verb), tuple(map(_bare, others)))):
            if text == shown or text.startswith(f"{shown} "):
                return f"{_one(forms, verb, choose)}{text[len(shown) :]}"
    return text


def _one(forms: Sequence[str], verb: str, choose: Choose) -> str:
    return forms[choose(verb, len(forms))]


def _bare(verb: str) -> str:
    """Return a verb as a command: ``Fetches`` as ``Fetch``."""
    word, space, rest = verb.partition(" ")
    if word.endswith(("ches", "shes", "sses", "oes")):
        word = word[:-2]
    elif word.endswith("ies"):
        word = f"{word[:-3]}y"
    else:
        word = word.removesuffix("s")
    return f"{word}{space}{rest}"
