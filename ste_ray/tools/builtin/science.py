"""Chemical elements and formulas, on periodictable.

Traps: a symbol has its capital letter and a name has none, which no error says; CO and Co differ;
isotopes go as D or O[18]; the parts of a hydrate are joined by +, which the error for other signs
says.
"""

from __future__ import annotations

import re
from typing import Any

import periodictable

from ste_ray.tools.errors import ToolError

_MAX_CHARS = 80
_MAX_DEPTH = 5
# Counts of five digits and more help nobody, and other signs mean grammar of the library: files,
# mixtures, densities.
_FORMULA = re.compile(r"(?:[A-Za-z()\[\]+]|(?<![0-9])[0-9]{1,4}(?![0-9]))+")
_JOINTS = re.compile(r"[.·•*∙⋅]")


def element_info(symbol: str) -> dict[str, object]:
    """Return what is known about a chemical element."""
    found = _element(symbol)
    return {
        "symbol": found.symbol,
        "name": found.name,
        "atomic_number": found.number,
        "mass": round(found.mass, 6),
        "density": found.density and round(found.density, 6),
    }


def formula_mass(formula: str) -> dict[str, object]:
    """Return the molar mass of a chemical formula in grams, and what it is made of."""
    joint = _JOINTS.search(formula)
    if joint:
        raise ToolError(f"Unexpected {joint.group()!r}: join parts by '+', as in CaSO4+2H2O")
    if not _is_readable(formula):
        raise ToolError("Invalid input")
    try:
        found = periodictable.formula(formula)
    except ValueError as error:
        raise ToolError(str(error)) from None
    except Exception as error:  # of its parser, whose kinds are no part of its interface
        raise ToolError(f"Invalid formula {formula!r}: {error}") from None
    atoms = {str(atom): count for atom, count in found.atoms.items()}
    return {"formula": formula, "mass": round(found.mass, 4), "atoms": atoms}


def _element(symbol: str) -> Any:
    for find in (periodictable.elements.symbol, periodictable.elements.name):
        try:
            found = find(symbol)
        except ValueError:
            continue
        if found.number > 0:  # the table also holds the neutron
            return found
    raise ToolError(f"unknown element {symbol}")


def _is_readable(formula: str) -> bool:
    if len(formula) > _MAX_CHARS or not _FORMULA.fullmatch(formula):
        return False
    depth = deepest = 0
    for letter in formula:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    return deepest <= _MAX_DEPTH
