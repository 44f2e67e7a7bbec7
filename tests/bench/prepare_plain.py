"""The same work as prepare without models, as a plain pandas/pyarrow script in one process.

Select the last executed call of finished trials, drop equal and nearly equal queries, split by
group, format training rows, keep a ledger; Parquet to Parquet. Written for speed, but without what
makes a stage: no checked records, no resume, whole files in memory. Run it as ``python
prepare_plain.py RUN``.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rensa import RMinHash, RMinHashLSH

from ste_ray.core import layout

EXECUTED = ("ok", "error", "withheld")
EDGES = re.compile(r"(?<!\S)[.,;:!?…\"'“”‘’«»()\[\]]+|[.,;:!?…\"'“”‘’«»()\[\]]+(?!\S)")
SYSTEM = (
    "You are an assistant with tools. Reply with one call, as Action and Action Input, or with a "
    "Final Answer."
)
DIALOG = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def main(run: Path) -> None:
    """Prepare each file of a run's episodes by itself; tools do not cross files."""
    for kind in ("examples", "rows", "ledger"):
        (run / "plain" / kind).mkdir(parents=True, exist_ok=True)
    for path in sorted((run / layout.EPISODES).glob("*.parquet")):
        examples, rows, ledger = prepare(pq.read_table(path, columns=["trials"]))
        for kind, table in (("examples", examples), ("rows", rows), ("ledger", ledger)):
            target = run / "plain" / kind / path.name
            pq.write_table(table, target, compression="zstd", row_group_size=1024)


def prepare(table: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return examples, training rows and ledger of one file."""
    frame = selected(table.column("trials").combine_chunks().flatten())
    frame["text"] = [" ".join(EDGES.sub(" ", q.casefold()).split()) for q in frame["query"]]
    usable = frame["reason"] == ""
    again = frame[usable].duplicated(["tool", "text"])
    frame.loc[again[again].index, "reason"] = "the same query"
    for at in near_duplicates(frame[frame["reason"] == ""]):
        frame.loc[at, "reason"] = "nearly the same query"
    kept = frame[frame["reason"] == ""].copy()
    kept["group"] = [sha(f"{t}\n{a}") for t, a in zip(kept["tool"], kept["arguments"], strict=True)]
    kept["example_id"] = [
        sha(f"{i}\n{q}") for i, q in zip(kept["trial_id"], kept["query"], strict=True)
    ]
    kept["split"] = [split_of(group) for group in kept["group"]]
    columns = ["example_id", "group", "trial_id", "tool", "query", "arguments", "observation"]
    examples = pa.Table.from_pandas(kept[[*columns, "final_answer", "split"]], preserve_index=False)
    ledger = frame[["trial_id", "tool", "query", "reason"]]
    return examples, training_rows(kept), pa.Table.from_pandas(ledger, preserve_index=False)


def selected(trials: pa.StructArray) -> pd.DataFrame:
    """Return one row a trial, with its last executed call or the reason why there is none."""
    turns = trials.field("turns")
    flat = pd.DataFrame({
        name: turns.values.field(name).to_numpy(zero_copy_only=False)
        for name in ("kind", "arguments_json", "observation", "observation_status")
    })  # fmt: skip
    lengths = turns.value_lengths().to_numpy()
    flat["trial"] = pd.Series(range(len(trials))).repeat(lengths).to_numpy()
    calls = flat[(flat["kind"] == "tool_call") & flat["observation_status"].isin(EXECUTED)]
    last = calls.groupby("trial").tail(1).set_index("trial")
    names = ("trial_id", "tool", "query", "final_answer", "outcome")
    frame = pd.DataFrame({
        name: trials.field(name).to_numpy(zero_copy_only=False) for name in names
    })  # fmt: skip
    frame["arguments"], frame["observation"] = last["arguments_json"], last["observation"]
    frame["reason"] = ""
    frame.loc[frame["arguments"].isna(), "reason"] = "no call was executed"
    frame.loc[frame["outcome"] != "finished", "reason"] = "not finished"
    return frame


def near_duplicates(frame: pd.DataFrame) -> list[int]:
    """Return the rows whose query is nearly that of an earlier one with the same call."""
    found = []
    crowded = frame[frame.duplicated(["tool", "arguments"], keep=False)]
    for _, group in crowded.groupby(["tool", "arguments"], sort=False):
        index = RMinHashLSH(threshold=0.7, num_perm=128, num_bands=32)
        kept: list[set[str]] = []
        for at, text in zip(group.index, group["text"], strict=True):
            grams = {text[start : start + 4] for start in range(max(1, len(text) - 3))}
            sketch = RMinHash(num_perm=128, seed=1)
            sketch.update(list(grams))
            near = (kept[number] for number in index.query(sketch))
            if any(len(grams & one) >= 0.7 * len(grams | one) for one in near):
                found.append(at)
            else:
                index.insert(len(kept), sketch)
                kept.append(grams)
    return found


def training_rows(kept: pd.DataFrame) -> pa.Table:
    """Return the call and the final answer of each example as dialogs."""
    rows: dict[str, list[object]] = {
        name: [] for name in ("row_id", "tool", "kind", "split", "dialog_history", "response")
    }
    for one in kept[kept["split"] != "test"].itertuples():
        call = f"Action: <tool_{one.tool}>\nAction Input: {escaped(one.arguments, 'u003c')}"
        dialog = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": escaped(one.query)},
        ]
        observed = f"Observation: {escaped(one.observation)}"
        longer = [
            *dialog,
            {"role": "assistant", "content": call},
            {"role": "user", "content": observed},
        ]
        answer = f"Final Answer: {escaped(one.final_answer)}"
        for kind, history, response in (("call", dialog, call), ("answer", longer, answer)):
            values = (f"{one.example_id}-{kind}", one.tool, kind, one.split, history, response)
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
    dialogs = pa.array(rows.pop("dialog_history"), DIALOG)
    return pa.table({**rows, "dialog_history": dialogs})


def escaped(text: str, mark: str = "") -> str:
    """Return text in which nothing is a toolken."""
    return text.replace("<tool_", f"<tool\\{mark}_")


def sha(text: str) -> str:
    """Return 16 digits of a SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def split_of(group: str) -> str:
    """Return the split of a group."""
    position = int(hashlib.sha256(f"0:{group}".encode()).hexdigest()[:16], 16) / 2**64
    return "test" if position < 0.2 else "validation" if position < 0.3 else "train"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
