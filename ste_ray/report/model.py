"""What the report shows: plain values, already counted, cut and ordered, nothing left to decide.

The HTML page, the terminal tables and later forms are all rendered from one ``ReportData``. A part
whose stage has not run is ``None``, which is shown as "not run".
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ste_ray.core.scoring.agreement import Agreement
from ste_ray.core.scoring.evaluation import Difference, EvaluationSummary
from ste_ray.core.scoring.statistics import PairedComparison, Proportion
from ste_ray.core.scoring.summary import Figures, Metric


class View(BaseModel):
    """Base of all parts of the report: frozen, and refusing unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tally(View):
    """How often something with a name happened."""

    name: str
    count: int


class Notice(View):
    """Something the reader must know before believing a figure."""

    kind: Literal["caution", "note"]
    title: str
    text: str


class StageView(View):
    """What a stage's manifest says about how it ran."""

    name: str
    ran: bool
    started_at: str = ""
    seconds: float = 0.0
    seed: int | None = None
    code_version: str = ""
    config_fingerprint: str = ""
    config_text: str = ""  # indented JSON
    counts: tuple[tuple[str, str], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class ToolScore(View):
    """One tool's figures in the first and last setting, and what goes wrong most in the last."""

    tool: str
    before: Figures
    after: Figures
    trouble: str


class Confusion(View):
    """How often each tool was called where another one was right, in one setting."""

    setting: str
    tools: tuple[str, ...]  # the first columns; each is also a row
    others: tuple[str, ...]  # the last columns: ways not to call one of the tools
    rows: tuple[tuple[str, tuple[int, ...]], ...]  # right tool, counts by column
    pairs: tuple[tuple[str, str, int], ...]  # gold, predicted, count; most frequent first
    omitted: int = 0  # tools left out because the table would be too large


class PredictionView(View):
    """One scored prediction to read."""

    setting: str
    outcome: str
    tool: str
    query: str
    gold_arguments: str
    predicted_tool: str
    predicted_arguments: str
    problem: str
    output_text: str
    observation: str = ""  # where the call was executed
    final_answer: str = ""
    reasoning: str = ""  # before the output


class EvaluationView(View):
    """Scores of all settings on the test split."""

    summary: EvaluationSummary
    tools: tuple[ToolScore, ...]
    tools_omitted: int
    confusions: tuple[Confusion, ...]
    examples: tuple[PredictionView, ...]


class ToolExploration(View):
    """How the exploration of one tool went."""

    tool: str
    trials: int
    solved: int
    calls: int
    failed_calls: int


class Position(View):
    """Trials that stand at the same place in their episode."""

    number: int  # from 1
    trials: int
    solved: int
    first_call_ok: int


class ExplorationView(View):
    """Figures of simulated trial and error."""

    episodes: int
    trials: int
    models: tuple[str, ...]
    solved: tuple[Tally, ...]
    outcomes: tuple[Tally, ...]
    calls: tuple[Tally, ...]  # by observation status
    sources: tuple[Tally, ...]  # of the answers of tools: called, recorded, simulated
    errors_before_success: tuple[Tally, ...]
    positions: tuple[Position, ...]
    tools: tuple[ToolExploration, ...]
    tools_omitted: int
    prompt_tokens: int
    completion_tokens: int
    replies: int = 0
    replies_reasoned: int = 0  # before them the model reasoned
    reasoning_tokens: int = 0  # of the completion tokens


class LedgerReason(View):
    """Queries that were dropped at the same step for the same reason."""

    step: str
    reason: str
    explored: int
    paraphrased: int


class ToolData(View):
    """What became of one tool's queries, and the examples it ended with."""

    tool: str
    imagined: int
    kept: int
    dropped: int
    train: int
    validation: int
    test: int
    warning: str = ""


class LedgerView(View):
    """What became of every imagined and paraphrased query."""

    kept: int
    dropped: int
    reasons: tuple[LedgerReason, ...]
    reasons_omitted: int
    tools: tuple[ToolData, ...]
    tools_omitted: int
    few_examples: int  # tools with a warning


class HeatRow(View):
    """A round: its figures on each batch, then on all of them; None: not arrived yet."""

    number: int
    cells: tuple[Proportion | None, ...]
    general: float | None  # loss on general examples
    general_rows: int


class HeatMap(View):
    """Batches by rounds, in one variant."""

    variant: str
    metric: Metric
    rows: tuple[HeatRow, ...]


class VariantRow(View):
    """What the rounds of a variant amount to."""

    variant: str
    together: Figures  # after the last round, on all batches
    mean_backward: float | None
    mean_forgetting: float | None
    mean_learning: float | None


class TransferRow(View):
    """What became of a batch from its own round to the last."""

    variant: str
    batch: int
    forgetting: float
    comparison: PairedComparison


class StudyRow(View):
    """Shares that the published study measured after its last round."""

    variant: str
    batches: tuple[float, ...]
    together: float


class ContinualView(View):
    """Rounds of tools, trained one after the other."""

    setting: str
    batches: tuple[tuple[str, ...], ...]
    replay_fraction: float
    maps: tuple[HeatMap, ...]
    variants: tuple[VariantRow, ...]
    transfers: tuple[TransferRow, ...]
    study: tuple[StudyRow, ...]


class JudgeView(View):
    """What a judge of free texts was asked, and how far it can be trusted."""

    model: str
    asked: int
    verdicts: tuple[Tally, ...]
    gates: bool
    reason: str
    agreement: Agreement | None


class Series(View):
    """A curve: points in order of x."""

    name: str
    points: tuple[tuple[float, float], ...]


class TrainingView(View):
    """Curves of training, and figures worth reading as numbers."""

    steps: int
    panels: tuple[tuple[str, tuple[Series, ...]], ...]  # title, curves that share an axis
    figures: tuple[tuple[str, str], ...]


class TurnView(View):
    """One turn of a trial, cut to a readable length."""

    kind: str
    thought: str
    tool: str
    arguments: str
    observation: str
    status: str
    source: str  # empty: the tool itself answered, or nobody
    problem: str
    reply_text: str  # raw; only where it could not be parsed
    reasoning: str = ""  # before the reply


class TrialView(View):
    """One trial to read turn by turn."""

    trial_id: str
    tool: str
    place: str
    result: str  # how it ended, the value the page filters by
    query: str
    turns: tuple[TurnView, ...]
    final_answer: str
    outcome: str
    solved: str
    reflection: str
    judgment: str = ""
    query_status: str = ""
    query_reasoning: str = ""  # before the query
    reflection_reasoning: str = ""


class ToolChange(View):
    """Correct calls of one tool in two runs, of ``n`` queries that both answered."""

    tool: str
    n: int
    first: int
    second: int
    gained: int
    lost: int


class ChangedPrediction(View):
    """A query that came out otherwise in the second run."""

    change: Literal["lost", "gained", "other"]
    tool: str
    query: str
    gold_arguments: str
    first_outcome: str
    second_outcome: str
    first_problem: str
    second_problem: str
    first_text: str
    second_text: str


class ConfigDifference(View):
    """A key of a stage's configuration that two runs have otherwise."""

    stage: str
    key: str
    first: str
    second: str


class ComparisonView(View):
    """Two runs beside each other, on the queries that both have answered."""

    first: str
    second: str
    first_setting: str
    second_setting: str
    created_at: str
    n: int
    only_first: int  # queries that only the first run has
    only_second: int
    first_figures: Figures
    second_figures: Figures
    differences: tuple[Difference, ...]
    tools: tuple[ToolChange, ...]
    changed: tuple[ChangedPrediction, ...]
    config: tuple[ConfigDifference, ...]


class ReportData(View):
    """Everything the report shows about one run."""

    run: str
    created_at: str
    version: str
    notices: tuple[Notice, ...]
    stages: tuple[StageView, ...]
    evaluation: EvaluationView | None = None
    exploration: ExplorationView | None = None
    ledger: LedgerView | None = None
    training: TrainingView | None = None
    continual: ContinualView | None = None
    judge: JudgeView | None = None
    trials: tuple[TrialView, ...] = ()
    trials_total: int = 0

    @property
    def run_name(self) -> str:
        """The last part of the run's address."""
        return self.run.rstrip("/").rpartition("/")[2] or self.run
