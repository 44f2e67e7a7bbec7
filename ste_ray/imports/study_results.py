"""Scores a predictions file of the published study by the study's own rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from ste_ray.core.scoring.study import StudyReport, study_report
from ste_ray.errors import StageInputError


def score_study_file(
    predictions: str,
    verdicts: Literal["recorded", "rules"],
    string_match_file: str | None = None,
) -> StudyReport:
    """Read ``predictions`` (API name to list of items) and compute the study's figures.

    Args:
        predictions: a JSON file in the shape of the study's saved results.
        verdicts: ``recorded`` counts the labels in the file, ``rules`` applies the rules.
        string_match_file: a JSON list of the APIs whose arguments are compared as text.

    Raises:
        StageInputError: a file is missing, is no JSON, or has another shape.
    """
    items = _read_json(predictions)
    if not isinstance(items, dict) or not all(isinstance(part, list) for part in items.values()):
        raise StageInputError(
            f"{predictions!r} must hold a JSON object from API names to lists of predictions"
        )
    names: Any = [] if string_match_file is None else _read_json(string_match_file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise StageInputError(f"{string_match_file!r} must hold a JSON list of API names")
    return study_report(items, verdicts, names)


def _read_json(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageInputError(f"no file {path!r}; give an existing JSON file") from None
    except (OSError, ValueError) as error:
        raise StageInputError(f"cannot read {path!r} as JSON: {error}") from None
