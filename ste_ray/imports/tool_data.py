"""The published study's fine-tuning data, as trials.

A file is a JSON list, or an object ``batch_0 … batch_N`` -> list (the rounds of continual
learning), of ``query, API_name_list, api_descriptions, action, action_input, observation,
final_ans``. Each row becomes an episode of one trial: the call, what it returned, the answer.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ste_ray.core.preparing.formatting import call_text
from ste_ray.core.records import (
    Episode,
    Message,
    ObservationStatus,
    Trial,
    Turn,
    text_fingerprint,
)
from ste_ray.core.replies.strict_json import JSONTextError, decode_value
from ste_ray.errors import ConfigError

_BATCH = re.compile(r"batch_(\d+)")
_SECTION = re.compile(r"(?:\A|\n)API_name: ")
_TEXTS = ("query", "action", "final_ans")
_KEYS = ("query", "action", "action_input", "observation", "final_ans")


@dataclass
class ToolData:
    """What a file holds.

    Attributes:
        fingerprint: of its content.
        episodes: tool -> its episodes.
        descriptions: tool -> its description, as the rows give it.
        rounds: names of the tools of each batch; empty: the file has no batches.
        skipped: rows that cannot be used, by reason.
        examples_of_skipped: the number of the first such row, by reason.
        moved: tools that a later batch holds too; they belong to their first one.
    """

    fingerprint: str
    episodes: dict[str, list[Episode]] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    rounds: list[list[str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    examples_of_skipped: dict[str, int] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)


def read_tool_data(path: str) -> ToolData:
    """Read a file as a whole.

    Raises:
        ConfigError: it is missing, no JSON, of another form, or no row of it can be used.
    """
    data, value = _load(path)
    found = ToolData(hashlib.sha256(data).hexdigest()[:16])
    batches = _batches(path, value)
    number = 0
    for rows in batches:
        tools: dict[str, None] = {}
        for row in rows:
            tool = _add(found, row, number)
            number += 1
            if tool is not None:
                tools[tool] = None
        earlier = {tool for names in found.rounds for tool in names}
        found.moved |= tools.keys() & earlier
        found.rounds.append([tool for tool in tools if tool not in earlier])
    if not isinstance(value, dict):
        found.rounds = []
    if not found.episodes:
        reasons = "; ".join(f"{count} x {what}" for what, count in found.skipped.most_common(3))
        raise ConfigError(
            f"{path!r} holds no example ({reasons or 'it has no rows'}); its rows must be objects "
            f"with {', '.join(_KEYS)}"
        )
    return found


def _load(path: str) -> tuple[bytes, Any]:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path!r} ({error.strerror}); give an existing JSON file"
        ) from None
    try:
        return data, json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path!r} is no JSON: {error}") from None


def _batches(path: str, value: Any) -> Sequence[list[Any]]:
    if isinstance(value, list):
        return [value]
    if isinstance(value, dict) and value:
        numbers = {name: _BATCH.fullmatch(name) for name in value}
        if all(numbers.values()) and all(isinstance(rows, list) for rows in value.values()):
            order = sorted(value, key=lambda name: int(name.removeprefix("batch_")))
            return [value[name] for name in order]
    raise ConfigError(
        f"{path!r} must hold a JSON list of rows, or an object 'batch_0', 'batch_1', … of lists"
    )


def _add(found: ToolData, row: Any, number: int) -> str | None:
    """Add a row's episode; return its tool, or None for a row that cannot be used."""
    reason = _fault(row)
    if not reason:
        episodes = found.episodes.get(row["action"], [])
        made = _episode(row, len(episodes))
        if isinstance(made, Episode):
            found.episodes.setdefault(made.tool, []).append(made)
            if made.tool not in found.descriptions and (text := _description(row)):
                found.descriptions[made.tool] = text
            return made.tool
        reason = made
    found.skipped[reason] += 1
    found.examples_of_skipped.setdefault(reason, number)
    return None


def _fault(row: Any) -> str:
    if not isinstance(row, dict):
        return "a row that is no JSON object"
    for key in _KEYS:
        if key not in row:
            return f"a row without {key!r}"
    for key in _TEXTS:
        if not isinstance(row[key], str) or not row[key].strip():
            return f"a row whose {key!r} is no text or empty"
    return ""


def _episode(row: Mapping[str, Any], number: int) -> Episode | str:
    tool, query, answer = row["action"], row["query"].strip(), row["final_ans"].strip()
    given = row["action_input"]
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    try:
        value, arguments_json, end = decode_value(text.strip())
    except JSONTextError:
        return "a row whose 'action_input' is no JSON"
    if not isinstance(value, dict) or text.strip()[end:]:
        return "a row whose 'action_input' is no JSON object"
    observation, status = _observation(row["observation"])
    call, final = call_text(tool, arguments_json), f"Final Answer: {answer}"
    episode_id = text_fingerprint("imported", tool, query, arguments_json, str(number))
    messages = (
        Message(role="user", content=query),
        Message(role="assistant", content=call),
        Message(role="user", content=f"Observation: {observation}"),
        Message(role="assistant", content=final),
    )
    turns = (
        Turn(
            reply_index=1,
            reply_text=call,
            kind="tool_call",
            tool=tool,
            arguments_text=text,
            arguments_json=arguments_json,
            observation=observation,
            observation_status=status,
            observation_source="recorded",
            observation_chars=len(observation),
        ),
        Turn(reply_index=3, reply_text=final, kind="final_answer", final_answer=answer),
    )
    trial = Trial(
        trial_id=f"{episode_id}-0",
        episode_id=episode_id,
        tool=tool,
        episode_number=number,
        trial_number=0,
        query=query,
        query_text=row["query"],
        memory_shown=0,
        turns=turns,
        final_answer=answer,
        outcome="finished",
        solved="not_asked",
    )
    return Episode(
        episode_id=episode_id,
        tool=tool,
        tool_fingerprint="imported",
        episode_number=number,
        messages=messages,
        trials=(trial,),
    )


def _observation(value: Any) -> tuple[str, ObservationStatus]:
    """Return an observation as text, and whether it tells of an error."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text, "ok"
    failed = isinstance(content, dict) and bool(content.get("error"))
    return text, "error" if failed else "ok"


def _description(row: Mapping[str, Any]) -> str:
    """Return what a row says of its tool; it may describe several."""
    return described_in(row).get(row["action"], "")


def described_in(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the tools that a row's ``api_descriptions`` describe: name -> description."""
    text = row.get("api_descriptions")
    found: dict[str, str] = {}
    for section in _sections(text if isinstance(text, str) else ""):
        name, _, rest = section.partition("\n")
        found.setdefault(name.strip(), rest.removeprefix("Description: ").strip())
    return found


def _sections(text: str) -> Iterator[str]:
    starts = list(_SECTION.finditer(text))
    for match, following in itertools.zip_longest(starts, starts[1:]):
        yield text[match.end() : following.start() if following else len(text)]
