"""The records that stages exchange, stored as Parquet under one run URI.

All are frozen pydantic models. A conversation is stored once an episode; turns point into it by
message index. Raw model text always stands beside what was parsed from it, and outcomes are
literals, never a boolean beside optional keys. JSON of unknown shape (schemas, arguments) is
kept as text, because Arrow would unite the keys of differing objects.

All of them are imported from here; they stand in modules by subject.
"""

from ste_ray.core.records.base import SCHEMA_VERSION, Record
from ste_ray.core.records.exploration import (
    MADE_CALLS,
    Episode,
    ObservationSource,
    ObservationStatus,
    Trial,
    Turn,
)
from ste_ray.core.records.failed_calls import FailedCall
from ste_ray.core.records.fingerprints import canonical_json, fingerprint, text_fingerprint
from ste_ray.core.records.kinds import CALL_KINDS, TEST_KINDS, TOOL_ROWS, RowKind, TestKind
from ste_ray.core.records.messages import Message, MessageCall
from ste_ray.core.records.preparation import (
    Example,
    Judgment,
    LedgerEntry,
    MadeTest,
    TrainRow,
    Verdict,
)
from ste_ray.core.records.replies import Fault, Oddity, OddityKind
from ste_ray.core.records.testing import Neighbor, Prediction, Retrieved, Score, TestDialog

__all__ = [
    "CALL_KINDS",
    "MADE_CALLS",
    "SCHEMA_VERSION",
    "TEST_KINDS",
    "TOOL_ROWS",
    "Episode",
    "Example",
    "FailedCall",
    "Fault",
    "Judgment",
    "LedgerEntry",
    "MadeTest",
    "Message",
    "MessageCall",
    "Neighbor",
    "ObservationSource",
    "ObservationStatus",
    "Oddity",
    "OddityKind",
    "Prediction",
    "Record",
    "Retrieved",
    "RowKind",
    "Score",
    "TestDialog",
    "TestKind",
    "TrainRow",
    "Trial",
    "Turn",
    "Verdict",
    "canonical_json",
    "fingerprint",
    "text_fingerprint",
]
