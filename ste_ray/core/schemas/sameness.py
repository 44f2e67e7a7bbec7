"""Whether two schemas say the same, also where they refer to themselves.

Two nodes are taken for the same while their parts are compared, so that a recursive schema equals
another one as long as no difference is found on any way through both (as types are compared that
are recursive; Brandt and Henglein, 1998). An assumption that led to nothing is given up with all
that was made upon it.
"""

from __future__ import annotations

from typing import Any

from ste_ray.core.schemas.assertions import same_value
from ste_ray.core.schemas.canonical import Form, Node
from ste_ray.core.schemas.rules import Alternatives, Branch, Rules

_Pair = tuple[tuple[int, ...], tuple[int, ...]]


class Sameness:
    """Compares nodes of two readers; what was found is kept.

    Args:
        notes: whether descriptions, defaults and notes count too.
    """

    def __init__(self, *, notes: bool) -> None:
        self._notes = notes
        self._taken: dict[_Pair, None] = {}
        self._different: set[_Pair] = set()

    def same(self, old: Node, new: Node) -> bool:
        """Whether two nodes say the same."""
        pair = (old.key, new.key)
        if pair in self._different:
            return False
        if pair in self._taken:
            return True
        num_taken = len(self._taken)
        self._taken[pair] = None
        if self._same_forms(old.form, new.form):
            return True
        while len(self._taken) > num_taken:
            self._taken.popitem()
        self._different.add(pair)
        return False

    def same_parts(self, old: Any, new: Any) -> bool:
        """Whether two rules of one keyword, or parts of them, say the same."""
        if isinstance(old, Node) and isinstance(new, Node):
            return self.same(old, new)
        if type(old) is not type(new):
            return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)
        if isinstance(old, Branch):
            return self.same_rules(old.rules, new.rules) and self._same_notes(old.node, new.node)
        if isinstance(old, Alternatives):
            return self._each_in(old, new) and self._each_in(new, old, turned=True)
        if isinstance(old, dict):
            return old.keys() == new.keys() and all(
                self.same_parts(one, new[name]) for name, one in old.items()
            )
        if isinstance(old, tuple):
            return len(old) == len(new) and all(map(self.same_parts, old, new))
        return bool(old == new)

    def same_rules(self, old: Rules, new: Rules) -> bool:
        """Whether two sets of rules for values of one type say the same."""
        return all(self._same_rule(old.get(one), new.get(one)) for one in {*old, *new})

    def _same_rule(self, old: Any, new: Any) -> bool:
        if old is None or new is None:
            given = old or new
            return not self._notes and isinstance(given, Node) and given.takes_all
        return self.same_parts(old, new)

    def _same_forms(self, old: Form, new: Form) -> bool:
        if self._notes and not same_notes(old, new):
            return False
        return old.kinds.keys() == new.kinds.keys() and all(
            self.same_rules(rules, new.kinds[kind]) for kind, rules in old.kinds.items()
        )

    def _same_notes(self, old: Node, new: Node) -> bool:
        return not self._notes or same_notes(old.form, new.form)

    def _each_in(self, some: Alternatives, others: Alternatives, turned: bool = False) -> bool:
        return all(
            any(self.same_parts(*((two, one) if turned else (one, two))) for two in others)
            for one in some
        )


def same_notes(old: Form, new: Form) -> bool:
    """Whether two forms have the same descriptions, defaults and notes."""
    return (
        old.texts == new.texts and old.notes == new.notes and same_default(old.default, new.default)
    )


def same_default(old: Any, new: Any) -> bool:
    """Whether two defaults are the same; ``canonical.ABSENT`` is one of its own."""
    return old is new or same_value(old, new)
