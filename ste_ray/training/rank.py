"""One rank of a training, from the run's files to the exported model.

It runs wherever the process group is set up: under Ray Train, under torchrun, or alone. What a run
holds when it begins is told by ``TrainJob``; what it leaves is ``train/model``, ``metrics.json``,
and checkpoints on the way.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ste_ray import __version__
from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.core import layout
from ste_ray.core.scoring.general_ability import GeneralAbility
from ste_ray.core.template_options import UNKNOWN_TOOLS, with_options
from ste_ray.errors import StageInputError, TrainingError
from ste_ray.ports import RunFiles
from ste_ray.process.memory import is_lack_of_memory, keep_few_kernels
from ste_ray.process.scratch import ScratchFolder
from ste_ray.training.base import copy_base
from ste_ray.training.batches import Batching, StepLoader, divide_rows
from ste_ray.training.checkpoints import Checkpoint, Checkpoints, choose_checkpoint
from ste_ray.training.distributed import num_ranks, rank, training_device
from ste_ray.training.examples import TokenisedRow
from ste_ray.training.export import export_model, serve_toolkens
from ste_ray.training.figures import FlopCounter, StepRecord, num_trainable
from ste_ray.training.general_check import GeneralCheck
from ste_ray.training.job import (
    Hooks,
    TrainJob,
)
from ste_ray.training.loop import Trainer
from ste_ray.training.model import num_parameters
from ste_ray.training.model_card import CardFacts, model_card
from ste_ray.training.rank_model import RankModels
from ste_ray.training.shards import CachedShards, Shard, parse_shard
from ste_ray.training.tool_parser import TOOL_PARSER_FILE, write_tool_parser
from ste_ray.training.toolkens import Vocabulary, tokenizer_of, write_toolkens
from ste_ray.training.tracking import TensorBoard
from ste_ray.training.trained_tools import write_trained_tools

MAX_VALIDATION_ROWS = 256


def train_rank(job: TrainJob, hooks: Hooks | None = None) -> dict[str, Any]:
    """Train this rank's share and return the figures of the whole.

    Raises:
        TrainingError: training cannot go on; memory that ran out among the reasons.
        StageInputError: data or checkpoint are damaged.
    """
    keep_few_kernels()
    with ScratchFolder(prefix="ste-ray-train-") as folder, _quiet():
        try:
            return _Rank(job, hooks or Hooks(), Path(folder)).run()
        except (RuntimeError, MemoryError) as error:
            if is_lack_of_memory(error):
                raise _out_of_memory(job, error) from error
            raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of libraries about what is meant to be so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # a single process
        warnings.filterwarnings("ignore", "Detected an existing checkpoint")  # half of one
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # it stays tied
        yield


class _Rank:
    """One rank's work, with a folder for its files."""

    def __init__(self, job: TrainJob, hooks: Hooks, folder: Path) -> None:
        self._job = job
        self._hooks = hooks
        self._folder = folder
        self._base = folder / "base"
        self._device = training_device(job.config.use_gpu)

    def run(self) -> dict[str, Any]:
        """Load, train and export; return the figures."""
        job, config = self._job, self._job.config
        # The weights come from rank 0, through the process group.
        copy_base(job.files, self._base, weights=rank() == 0)
        tokenizer, vocabulary = tokenizer_of(
            self._base, config, job.tools, trust_remote_code=job.trust_remote_code
        )
        models = RankModels(job, self._base, vocabulary, self._device)
        whole = models.whole()
        parameters, trained = num_parameters(whole), num_trainable(whole)
        flops = FlopCounter(whole)
        batching = models.batching(whole)
        model = models.sharded(whole)
        loader = self._loader(tokenizer.pad_token_id, batching)
        division = (config.batch_tokens, rank(), num_ranks(), tokenizer.pad_token_id, batching)
        validation = self._validation()
        trainer = Trainer(
            model,
            loader,
            divide_rows(validation, *division) if validation else None,
            config,
            job.seed,
            self._device,
            flops,
        )
        check = self._general_check(vocabulary, division)
        absent = vocabulary.added_rows(job.base_rows)
        if check is not None:  # before a checkpoint is loaded
            check.measure_before(lambda rows: trainer.mean_loss(rows, absent))
        try:
            summary, records = self._train(trainer, model)
            general = check.measure_after(trainer.mean_loss) if check is not None else None
        finally:
            loader.close()
        if config.format == "toolken" and vocabulary.ids:
            serve_toolkens(tokenizer, vocabulary.ids, job.system)
            own = {n: v for n, v in config.template_options.items() if n == UNKNOWN_TOOLS}
            tokenizer.chat_template = with_options(tokenizer.chat_template, own)
        wrote = export_model(
            model,
            tokenizer,
            self._folder / "model",
            to_fill=models.to_fill,
            retired=vocabulary.retired,
            ends=NativeChat(tokenizer).stop_ids() if config.format == "native" else (),
        )
        facts = {"parameters": parameters, "trained_parameters": trained}
        figures = {
            **summary.to_json(),
            **facts,
            "vocabulary": vocabulary.num_tokens,
            "workers": num_ranks(),
            "batching": batching,
            **({"general_ability": general.model_dump()} if general else {}),
        }
        if wrote:
            card = self._card(vocabulary, parameters, trained, general)
            self._write(model_card(card, config, summary), vocabulary, records, figures)
        return figures

    def _loader(self, pad_id: int, batching: Batching) -> StepLoader:
        shards = self._job.split("train")
        # A step may begin in one shard and end in another.
        num_kept = 2 + self._job.config.examples_per_step // min(shard.rows for shard in shards)
        return StepLoader(
            self._job.plan,
            CachedShards(lambda number: _read_shard(self._job.files, shards[number]), num_kept),
            self._job.config.batch_tokens,
            rank(),
            num_ranks(),
            pad_id,
            batching,
        )

    def _validation(self, kind: str = "") -> list[TokenisedRow]:
        """Return a sample of the validation rows, or of those of a kind."""
        rows: list[TokenisedRow] = []
        for shard in self._job.split("validation"):
            if len(rows) < MAX_VALIDATION_ROWS and (not kind or kind in shard.kinds):
                rows += _read_shard(self._job.files, shard, kind)
        return rows[:MAX_VALIDATION_ROWS]

    def _general_check(
        self, vocabulary: Vocabulary, division: tuple[int, int, int, int, Batching]
    ) -> GeneralCheck | None:
        new = {vocabulary.ids[name] for name in vocabulary.new}
        # What the base model has no token for cannot be asked of it.
        rows = [row for row in self._validation("general") if new.isdisjoint(row.input_ids)]
        if not rows:
            return None
        job = self._job
        return GeneralCheck(job.files, job.fingerprint, divide_rows(rows, *division))

    def _train(self, trainer: Trainer, model: Any) -> tuple[Any, list[StepRecord]]:
        job, hooks = self._job, self._hooks
        checkpoint = choose_checkpoint(job.files, job.fingerprint)
        records = list(checkpoint.records) if checkpoint else []
        tensorboard = TensorBoard(job.files, len(records) + 1) if rank() == 0 else None

        def on_saved(saved: Checkpoint) -> None:
            hooks.on_checkpoint(saved)
            if tensorboard is not None:
                tensorboard.publish()

        checkpoints = Checkpoints(
            job.files,
            model,
            trainer.optimizer,
            job.fingerprint,
            job.config.checkpoint_seconds,
            hooks.warn,
            on_saved,
            hooks.on_report,
        )
        if checkpoint is not None:
            checkpoints.restore(checkpoint)

        def on_step(record: StepRecord) -> None:
            records.append(record)
            if tensorboard is not None:
                tensorboard(record)
            hooks.on_step(record)

        try:
            summary = trainer.run(on_step, tuple(records), checkpoints, hooks.stopping)
        finally:
            checkpoints.wait()
            if tensorboard is not None:
                tensorboard.close()
        hooks.on_report(records[-1])
        return summary, records

    def _card(
        self,
        vocabulary: Vocabulary,
        parameters: int,
        trained: int,
        general: GeneralAbility | None,
    ) -> CardFacts:
        job = self._job
        return CardFacts(
            base=job.config.model.base,
            tools=list(job.tools if job.config.format == "native" else vocabulary.ids),
            rows=dict(job.kinds),
            validation_rows=sum(shard.rows for shard in job.split("validation")),
            seed=job.seed,
            parameters=parameters,
            trained=trained,
            precision=job.precision,
            version=__version__,
            explorer=job.explorer,
            general=general,
        )

    def _write(
        self,
        card: str,
        vocabulary: Vocabulary,
        records: Sequence[StepRecord],
        figures: Mapping[str, Any],
    ) -> None:
        folder, files = self._folder / "model", self._job.files
        for code in self._base.glob("*.py"):  # there only if it is trusted
            if code.name != TOOL_PARSER_FILE:  # which is the form's, not the model's
                shutil.copy(code, folder)
        if self._job.config.format == "toolken" or vocabulary.ids or vocabulary.retired:
            write_toolkens(folder, vocabulary)
        write_trained_tools(folder, self._base, files, self._job.tools)
        if self._job.config.format == "toolken":
            write_tool_parser(folder)
        (folder / "README.md").write_text(card, "utf-8")
        files.delete_folder(layout.TUNED_MODEL)
        files.upload_folder(folder, layout.TUNED_MODEL)
        files.write_json(layout.TRAIN_METRICS, [record.to_json() for record in records])
        files.write_json(layout.TRAIN_SUMMARY, figures)  # last: the model is whole


def _read_shard(files: RunFiles, shard: Shard, kind: str = "") -> list[TokenisedRow]:
    # Other failures of the storage are named by the store itself.
    try:
        rows = parse_shard(files.read_bytes(shard.path), kind)
    except (OSError, ValueError) as error:
        raise StageInputError(
            f"the training data in {files.address(shard.path)!r} are missing or damaged"
            f" ({' '.join(str(error).split())[:200]}); delete {files.address('train')!r} and run"
            " train again"
        ) from error
    return rows


def _out_of_memory(job: TrainJob, error: BaseException) -> TrainingError:
    config = job.config
    remedies = [f"lower train.batch_tokens={config.batch_tokens!r}"]
    if not config.activation_checkpointing:
        remedies.append("set train.activation_checkpointing=true")
    remedies.append(f"raise train.num_workers={config.num_workers!r}")
    if config.mode == "full":
        remedies.append("set train.mode=lora")
    with suppress(RuntimeError):
        torch.cuda.empty_cache()
    reason = " ".join(str(error).split())[:200]
    return TrainingError(
        f"memory ran out while training on worker {rank()} of {num_ranks()} ({reason});"
        f" {', '.join(remedies[:-1])} or {remedies[-1]}; the last checkpoint is kept"
    )
