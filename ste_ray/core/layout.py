"""The layout of a run: every path below its URI, and what lies there.

No other module spells such a path. In capitals stands what varies: ``NNNNN`` is a number,
``SETTING`` a model and a prompt (``tuned-toolken``; with a way to ask anew behind a dot,
``tuned-toolken.repeat-2``, below ``variants``), ``VARIANT`` one of ``continual.variants``::

    lock.json                               who owns the run
    report.html                             the report: written last, from all of the following
    demo.json                               of the demo: ``DemoModel``, the base model it took
    STAGE/started.json                      what the stage was asked to do; written first
    STAGE/models.json                       which model answers for each role it asks
    STAGE/failure.json                      why it failed for good, if it did
    STAGE/manifest.json                     what it made and how; with it the stage is complete
    STAGE/imported.json                     the run that it was taken from, if it was; written first
    explore/tools.json                      the tools: a list of ``ToolSpec``
    explore/rounds.json                     names of tools by batch, of an import in batches
    explore/remembered.json                 ``MemoryEntry`` by tool, of an update
    explore/journal/                        recorded answers (``runtime.journal``)
    explore/parts/                          ``Episode``, while the stage runs
    explore/episodes/part-NNNNN.parquet     ``Episode``, by tool and number
    explore/simulated/                      answers of simulated tools (``tools.run.recording``)
    explore/plan/round-NNNNN.json           ``PlanRound``, written before it begins
    explore/replayed/part-NNNNN.parquet     ``Episode``, of ``explore --replay``
    prepare/examples/part-NNNNN.parquet     ``Example``
    prepare/examples/no-call-00000.parquet  ``Example`` of general requests: tests without a call
    prepare/rows/part-NNNNN.parquet         ``TrainRow``
    prepare/rows/general-00000.parquet      ``TrainRow`` of general data
    prepare/judgments/part-NNNNN.parquet    ``Judgment``
    prepare/ledger/part-NNNNN.parquet       ``LedgerEntry``: what became of every query
    prepare/examples/kinds-NNNNN.parquet    ``Example`` of other kinds of tests, made and checked
    prepare/examples/edited-00000.parquet   ``Example``: all tests, as ``tests import`` read them
    prepare/tests/part-NNNNN.parquet        ``MadeTest``: what became of every test that was made
    prepare/tests.json                      ``TestTotals``: the same in figures
    prepare/edited_tests.json               of what file they are; while they are imported, ``{}``
    prepare/dialogs/part-NNNNN.parquet      ``TestDialog``, of an imported test set
    prepare/totals.json                     ``LedgerTotals``: the ledger in figures
    prepare/tools.json                      the tools in the data
    prepare/toolkens.json                   their toolkens
    prepare/rounds/index.json               what is in each round of tools
    prepare/rounds/NN/rows/part-NNNNN.parquet      ``TrainRow`` of one round
    prepare/rounds/NN/rows/general-00000.parquet   ``TrainRow`` of general data in it
    prepare/trained/part-NNNNN.parquet      ``TrainRow``, of an update: those that it trains on
    prepare/journal/part-NNNNN/             recorded answers of one partition
    prepare/done/part-NNNNN.json            what a partition holds, while the stage runs
    retrieve/retrieved/part-NNNNN.parquet   ``Retrieved``
    train/base/                             the model before training, as Hugging Face saves it
    train/base.json                         where it came from; written after it
    train/toolkens.json                     tools, toolkens and their ids
    train/shards/SPLIT-NNNNN.parquet        tokenised rows
    train/spool/                            slices of them, while they are written
    train/plan.json                         the list of shards; written after them
    train/checkpoints/step-NNNNNNNN/        a checkpoint of ``torch.distributed``
    train/checkpoints/step-NNNNNNNN/complete.json  written after it
    train/ray/                              Ray Train's notes, while it runs
    train/tensorboard/                      curves
    train/model/                            the model after training, as Hugging Face saves it, with
                                            ``toolkens.json`` and ``tools.json``, its tools
    train/metrics.json                      one record a step
    train/general_before.json               the base model's loss on general rows that are held out
    train/summary.json                      ``TrainSummary``; written after all of the training
    infer/predictions/SETTING/part-NNNNN.parquet   ``Prediction``
    infer/predictions/SETTING/_complete     counts of the setting; written after it
    infer/variants/SETTING/part-NNNNN.parquet      ``Prediction``, of requests asked anew
    infer/variants/SETTING/_complete        likewise
    infer/pieces/SETTING/                   ``Prediction``, while the stage runs
    infer/journal/SETTING/                  recorded answers of an endpoint
    evaluate/scores/SETTING/part-NNNNN.parquet     ``Score``, in the order of the predictions
    evaluate/variants/SETTING/part-NNNNN.parquet   ``Score``, likewise of ``infer/variants``
    evaluate/undecided.jsonl                pairs of arguments that no rule decides
    evaluate/judge.json                     ``JudgeReport``, where a judge was asked
    evaluate/journal/                       its recorded answers
    evaluate/summary.json                   ``EvaluationSummary``
    continual/round-NN/                     the first round, a run of its own
    continual/VARIANT/round-NN/             a later round, likewise
    continual/joint/                        all tools at once, likewise
    continual/summary.json                  ``ContinualSummary``
    update/update.json                      ``UpdatePlan``, of a run that updates another
    update/explored/                        its new and changed tools explored, a run of its own
    update/prepared/                        their trials prepared, likewise
    update/summary.json                     ``UpdateSummary``
"""

from __future__ import annotations

LOCK = "lock.json"
REPORT = "report.html"
DEMO_MODEL = "demo.json"

TOOLS = "explore/tools.json"
IMPORTED_ROUNDS = "explore/rounds.json"
EARLIER_MEMORY = "explore/remembered.json"
EXPLORE_JOURNAL = "explore/journal"
EPISODE_PARTS = "explore/parts"
EPISODES = "explore/episodes"
SIMULATED_ANSWERS = "explore/simulated"
REPLAYED_EPISODES = "explore/replayed"
EXPLORE_PLAN = "explore/plan"

PREPARE = "prepare"
EXAMPLES = "prepare/examples"
NO_CALL_TESTS = "prepare/examples/no-call-00000.parquet"
MADE_TESTS = "prepare/tests"
TEST_TOTALS = "prepare/tests.json"
EDITED_TESTS = "prepare/examples/edited-00000.parquet"
EDITED_MARKER = "prepare/edited_tests.json"
ROWS = "prepare/rows"
GENERAL_ROWS = "prepare/rows/general-00000.parquet"
TRAINED_ROWS = "prepare/trained"
JUDGMENTS = "prepare/judgments"
LEDGER = "prepare/ledger"
DIALOGS = "prepare/dialogs"
LEDGER_TOTALS = "prepare/totals.json"
PREPARED_TOOLS = "prepare/tools.json"
PREPARED_TOOLKENS = "prepare/toolkens.json"
ROUNDS = "prepare/rounds"
ROUNDS_INDEX = "prepare/rounds/index.json"
PREPARE_JOURNALS = "prepare/journal"
PREPARE_DONE = "prepare/done"

RETRIEVED = "retrieve/retrieved"

BASE_MODEL = "train/base"
BASE_MARKER = "train/base.json"
TRAINED_TOOLKENS = "train/toolkens.json"
SHARDS = "train/shards"
SHARD_SPOOL = "train/spool"
SHARD_PLAN = "train/plan.json"
CHECKPOINTS = "train/checkpoints"
RAY_TRAIN = "train/ray"
TENSORBOARD = "train/tensorboard"
TUNED_MODEL = "train/model"
TRAIN_METRICS = "train/metrics.json"
GENERAL_BEFORE = "train/general_before.json"
TRAIN_SUMMARY = "train/summary.json"
RUN_MODELS = {"base": BASE_MODEL, "tuned": TUNED_MODEL}  # by their names in settings

PREDICTIONS = "infer/predictions"
VARIANTS = "infer/variants"
PREDICTION_PIECES = "infer/pieces"
INFER_JOURNALS = "infer/journal"

SCORES = "evaluate/scores"
VARIANT_SCORES = "evaluate/variants"
UNDECIDED = "evaluate/undecided.jsonl"
JUDGE_REPORT = "evaluate/judge.json"
EVALUATE_JOURNAL = "evaluate/journal"
EVALUATION_SUMMARY = "evaluate/summary.json"

CONTINUAL = "continual"
JOINT_ROUND = "continual/joint"
CONTINUAL_SUMMARY = "continual/summary.json"

UPDATE = "update/update.json"
UPDATE_EXPLORED = "update/explored"
UPDATE_PREPARED = "update/prepared"
UPDATE_SUMMARY = "update/summary.json"


def started(stage: str) -> str:
    """Return where a stage notes what it was asked to do."""
    return f"{stage}/started.json"


def models(stage: str) -> str:
    """Return where a stage notes which models answer."""
    return f"{stage}/models.json"


def failure(stage: str) -> str:
    """Return where a stage notes why it failed for good."""
    return f"{stage}/failure.json"


def manifest(stage: str) -> str:
    """Return where a stage says what it made."""
    return f"{stage}/manifest.json"


def imported(stage: str) -> str:
    """Return where a stage says that it was taken from another run, and from which."""
    return f"{stage}/imported.json"


def plan_round(number: int) -> str:
    """Return the file of one round of the adaptive plan of an exploration."""
    return f"{EXPLORE_PLAN}/round-{number:05d}.json"


def part_name(number: int) -> str:
    """Return the name of a part of a table, and of what belongs to it; without an extension."""
    return f"part-{number:05d}"


def part(folder: str, number: int) -> str:
    """Return the file of one part of the table in ``folder``."""
    return f"{folder}/{part_name(number)}.parquet"


def part_number(path: str) -> int:
    """Return the number in the name of a file that is one part of many; -1: it has none."""
    digits = path.removesuffix(".parquet").rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1


def later_part(path: str, first: int) -> str:
    """Return the path of a part among others that end before ``first``: its number goes on."""
    start = path.removesuffix(".parquet").rpartition("-")[0]
    return f"{start}-{first + part_number(path):05d}.parquet"


def same_part(path: str, folder: str) -> str:
    """Return the file in ``folder`` that is named like the one at ``path``."""
    return f"{folder}/{path.rpartition('/')[2]}"


def round_rows(number: int) -> str:
    """Return the folder of the training rows of one round of tools."""
    return f"{ROUNDS}/{number:02d}/rows"


def round_run(variant: str, number: int) -> str:
    """Return the folder that is the run of a continual round.

    Nothing can be replayed in the first round, so that it is the same in all variants.
    """
    owner = f"{variant}/" if number else ""
    return f"{CONTINUAL}/{owner}round-{number:02d}"


def partition_journal(name: str) -> str:
    """Return the folder of the journal of the partition ``name`` of prepare."""
    return f"{PREPARE_JOURNALS}/{name}"


def partition_done(name: str) -> str:
    """Return where the partition ``name`` of prepare says what it holds, once it does."""
    return f"{PREPARE_DONE}/{name}.json"


def kinds_part(name: str) -> str:
    """Return the file of the examples of other kinds of tests of the partition ``name``."""
    return f"{EXAMPLES}/{name.replace('part', 'kinds', 1)}.parquet"


def shard(split: str, number: int) -> str:
    """Return the file of a shard of tokenised rows."""
    return f"{SHARDS}/{split}-{number:05d}.parquet"


def checkpoint(step: int) -> str:
    """Return the folder of the checkpoint after ``step`` steps."""
    return f"{CHECKPOINTS}/step-{step:08d}"


def checkpoint_marker(checkpoint_folder: str) -> str:
    """Return what says that a checkpoint is complete."""
    return f"{checkpoint_folder}/complete.json"


def predictions(setting: str) -> str:
    """Return the folder of the predictions of a setting, given as ``Setting.folder_name``."""
    return f"{VARIANTS if '.' in setting else PREDICTIONS}/{setting}"


def predictions_marker(setting: str) -> str:
    """Return where a setting says that its predictions are complete, and counts them."""
    return f"{predictions(setting)}/_complete"


def prediction_pieces(setting: str) -> str:
    """Return the folder of what is answered in a setting that is not complete."""
    return f"{PREDICTION_PIECES}/{setting}"


def infer_journal(setting: str) -> str:
    """Return the folder of the journal of a setting that an endpoint answers."""
    return f"{INFER_JOURNALS}/{setting}"


def scores_of(predictions_part: str) -> str:
    """Return the file of the scores of one part of predictions."""
    if predictions_part.startswith(f"{VARIANTS}/"):
        return f"{VARIANT_SCORES}{predictions_part.removeprefix(VARIANTS)}"
    return f"{SCORES}{predictions_part.removeprefix(PREDICTIONS)}"


def predictions_of(scores_part: str) -> str:
    """Return the part of predictions that one part of scores belongs to."""
    return f"{PREDICTIONS}{scores_part.removeprefix(SCORES)}"
