"""What changed between two sets of tools, as a table for a terminal or a pull request."""

from __future__ import annotations

from collections.abc import Mapping

from ste_ray.core.tool_changes.records import GROUPS, Change, Group, ToolChanges
from ste_ray.report.markdown_tables import escaped, table
from ste_ray.report.terminal_tables import aligned

_HEADER = ("tool", "what", "parameter", "change", "learned calls")
_TITLES: Mapping[Group, str] = {
    "retrain": "retrain needed",
    "prompts": "prompts only: texts that are shown where tools are shown",
    "nothing": "nothing: what a model learns to write stays the same",
}
_MAX_CHARS = 100  # of a change in the table
_MAX_ROWS = 200


def headline(changes: ToolChanges) -> str:
    """Return in a line what a trained model needs."""
    if not changes.changes:
        return f"nothing changed in {_tools(changes.num_new)}"
    num_tools = len({one.tool for one in changes.changes})
    changed = f"{_tools(num_tools)} changed, {changes.num_same} the same"
    if changes.retraining_is_due:
        due = len({one.tool for one in changes.of_group("retrain")})
        return f"retraining is due for {_tools(due)}: {changed}"
    if changes.of_group("prompts"):
        return f"no retraining is due, only texts of prompts: {changed}"
    return f"no retraining is due: {changed}"


def changes_text(changes: ToolChanges, old: str, new: str) -> str:
    """Return headline and tables for a terminal.

    Args:
        changes: what was found.
        old: what the tools before were read from.
        new: likewise, those of now.
    """
    lines = [f"{headline(changes)}\n{old} → {new}"]
    for group, rows, left in _grouped(changes):
        lines.append(f"{_TITLES[group]}\n{aligned(_HEADER, rows, texts=True)}{_more(left)}")
    return "\n\n".join(lines) + "\n"


def changes_markdown(changes: ToolChanges, old: str, new: str) -> str:
    """Return the same as Markdown; what needs nothing is in a part that opens."""
    parts = [f"### ste-ray: {escaped(headline(changes))}", f"{escaped(old)} → {escaped(new)}"]
    for group, rows, left in _grouped(changes):
        title, cells = escaped(_TITLES[group]), [[escaped(one) for one in row] for row in rows]
        shown = f"{table(_HEADER, cells)}{_more(left)}"
        if group == "nothing":
            parts.append(f"<details>\n<summary>{title}</summary>\n\n{shown}\n\n</details>")
        else:
            parts.append(f"**{title}**\n\n{shown}")
    return "\n\n".join(parts) + "\n"


def _grouped(changes: ToolChanges) -> list[tuple[Group, list[list[str]], int]]:
    found: list[tuple[Group, list[list[str]], int]] = []
    for group in GROUPS:
        of_group = changes.of_group(group)
        if of_group:
            rows = [_cells(one) for one in of_group[:_MAX_ROWS]]
            found.append((group, rows, len(of_group) - len(rows)))
    return found


def _cells(one: Change) -> list[str]:
    detail = " ".join(one.detail.split())
    if len(detail) > _MAX_CHARS:
        detail = f"{detail[: _MAX_CHARS - 1]}…"
    stay = "break" if one.breaks else "stay right"
    return [one.tool, one.kind, one.parameter, detail, stay if one.group == "retrain" else ""]


def _more(left: int) -> str:
    return f"\n\n{left:,} more stand in the output of --json." if left else ""


def _tools(count: int) -> str:
    return f"{count} tool" if count == 1 else f"{count} tools"
