"""Predictions that others made, as records that are scored.

A row has the right ``tool`` (or ``action``) and ``arguments`` (or ``action_input``), what the model
wrote under ``model_output`` (or ``output_text``), and may have ``query``, ``accepted``,
``setting``, ``reasoning``, ``example_id``, ``kind``, ``near_tool`` and ``failed_calls``. Where no
call is right, the tool is empty and there are no arguments.
"""

from __future__ import annotations

from ste_ray.core.records import Prediction
from ste_ray.core.replies.reasoning import separate
from ste_ray.imports.rows import Row, read_rows, require_tools_named
from ste_ray.imports.test_sets import kind_fields

SETTING = "predictions"


def read_predictions(path: str) -> list[Prediction]:
    """Read a file of predictions: JSON lines, a list, or tool -> list.

    Raises:
        StageInputError: the file cannot be used, or two rows of a setting have the same
            ``example_id``; the first wrong row is named.
    """
    seen: dict[tuple[str, str], str] = {}
    found = []
    rows = read_rows(path)
    require_tools_named(rows)
    for number, row in enumerate(rows):
        prediction = _prediction(row, number)
        key = prediction.setting, prediction.example_id
        if key in seen:
            raise row.error(f"it has the 'example_id' {key[1]!r} of {seen[key]}; give each its own")
        seen[key] = row.place
        found.append(prediction)
    return found


def _prediction(row: Row, number: int) -> Prediction:
    # What the model reasoned first is told apart as in replies that are asked for here.
    written = separate(row.text("model_output", "output_text"))
    tool, arguments_json = row.right_call
    kind = kind_fields(row, tool)
    return Prediction(
        example_id=row.text("example_id", default=f"row-{number:06d}"),
        setting=row.text("setting", default=SETTING),
        tool=tool,
        query=row.text("query", default=""),
        arguments_json=arguments_json,
        accepted_json=row.accepted_json if tool else "",
        candidates=(),
        output_text=written.content,
        reasoning=written.reasoning or row.text("reasoning", default=""),
        error=row.text("error", default=""),
        kind=kind["kind"],
        near_tool=kind["near_tool"],
        failed_calls=kind["failed_calls"],
    )
