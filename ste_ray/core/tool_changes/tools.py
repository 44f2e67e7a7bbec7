"""What changed between two sets of tools, by what it means for a model that was trained on the old.

- ``retrain``: the model does not know it. It calls a tool that is gone, leaves out what must be
  given, gives values that are refused, or never uses what is new.
- ``prompts``: only texts differ that prompts and requests show, where they show tools.
- ``nothing``: what a model learns to write stays as it is: how a tool is called, its effect, and
  what its results look like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ste_ray.core.differences import flattened
from ste_ray.core.texts.nearest import listed
from ste_ray.core.tool_changes.differences import Difference
from ste_ray.core.tool_changes.records import GROUPS, Change, ToolChanges
from ste_ray.core.tool_changes.renaming import Renaming, renamings
from ste_ray.core.tool_changes.schemas import schema_differences
from ste_ray.core.tool_specs import ToolSpec

_CALLING = ("lenient", "timeout_seconds", "max_output_chars", "requests_per_minute", "concurrency")
_MAX_FIELDS = 4


def compare_tools(
    old: Mapping[str, ToolSpec], new: Mapping[str, ToolSpec], *, ignore_added: bool = False
) -> ToolChanges:
    """Return what changed between two sets of tools.

    Args:
        old: the tools before, by name.
        new: the tools now, by name.
        ignore_added: leave out tools that are new and no renamed ones.
    """
    gone = {name: spec for name, spec in old.items() if name not in new}
    come = {name: spec for name, spec in new.items() if name not in old}
    renamed = renamings(gone, come)
    pairs = {one.new: (old[one.old], new[one.new]) for one in renamed}
    pairs |= {name: (old[name], new[name]) for name in old.keys() & new.keys()}
    changes = [_renamed(one) for one in renamed]
    changes += [_removed(name) for name in gone.keys() - {one.old for one in renamed}]
    added = come.keys() - {one.new for one in renamed}
    changes += [] if ignore_added else [_added(name) for name in added]
    changes += [change for one, two in pairs.values() for change in tool_changes(one, two)]
    touched = {one.tool for one in changes}
    changes.sort(key=lambda one: (GROUPS.index(one.group), one.tool))
    return ToolChanges(
        num_old=len(old),
        num_new=len(new),
        num_same=sum(name not in touched for name in pairs),
        changes=tuple(changes),
    )


def tool_changes(old: ToolSpec, new: ToolSpec) -> Iterator[Change]:
    """Yield what changed in one tool, but for its name."""
    for one in schema_differences(old.parameters, new.parameters):
        yield _of_schema(new.name, one)
    if old.description.strip() != new.description.strip():
        yield Change(
            tool=new.name,
            group="prompts",
            kind="description",
            detail="of the tool, changed",
            before=old.description,
            after=new.description,
        )
    yield from _results(old, new)
    if old.effect != new.effect:
        yield Change(
            tool=new.name,
            group="nothing",
            kind="effect",
            detail=f"{old.effect} → {new.effect}: see what may be called",
            before=old.effect,
            after=new.effect,
        )
    if fields := _called_otherwise(old, new):
        yield Change(
            tool=new.name,
            group="nothing",
            kind="executor",
            detail=f"called otherwise: {listed(fields, most=_MAX_FIELDS)}",
        )


def _of_schema(tool: str, one: Difference) -> Change:
    return Change(
        tool=tool,
        group=one.group,
        kind=one.kind,
        parameter=one.place.parameter,
        path=one.path,
        detail=one.detail,
        breaks=one.breaks,
        before=one.before,
        after=one.after,
    )


def _renamed(one: Renaming) -> Change:
    rival = f", but {one.rival!r} is nearly as like" if one.rival else ""
    return Change(
        tool=one.new,
        group="retrain",
        kind="tool renamed",
        detail=f"was {one.old!r} ({one.sureness}: {one.likeness:.0%} alike{rival})",
        breaks=True,
        before=one.old,
        after=one.new,
        sureness=one.likeness,
    )


def _removed(name: str) -> Change:
    detail = "the model still calls it"
    return Change(tool=name, group="retrain", kind="tool removed", detail=detail, breaks=True)


def _added(name: str) -> Change:
    detail = "the model does not know it"
    return Change(tool=name, group="retrain", kind="tool added", detail=detail)


def _results(old: ToolSpec, new: ToolSpec) -> Iterator[Change]:
    before, after = old.output_schema, new.output_schema
    if before is None and after is None:
        return
    detail = "now described" if before is None else "no more described"
    if before is not None and after is not None:
        found = schema_differences(before, after)
        if not found:
            return
        places = dict.fromkeys(one.place.parameter or "the whole" for one in found)
        detail = f"results look otherwise: {listed(places, most=_MAX_FIELDS)}"
    yield Change(tool=new.name, group="nothing", kind="output schema", detail=detail)


def _called_otherwise(old: ToolSpec, new: ToolSpec) -> list[str]:
    """Return the names of the fields, not their values, which may be long or private."""
    if old.kind != new.kind:
        return [f"{old.kind} → {new.kind}"]
    before, after = (flattened(one.executor.as_written()) for one in (old, new))
    fields = [one for one in sorted({*before, *after}) if before.get(one) != after.get(one)]
    return [*fields, *(one for one in _CALLING if getattr(old, one) != getattr(new, one))]
