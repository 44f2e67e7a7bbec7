"""Configuration: one YAML file, ``section.key=value`` overrides, secrets from the environment.

Each stage reads its own section plus the shared ``seed``, ``tools`` and ``llm``. Fields marked
``operational`` change how a stage runs, never what it produces, so they are no part of its
fingerprint.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ste_ray.core.effects import Role
from ste_ray.core.records import fingerprint
from ste_ray.core.template_options import check_template_options
from ste_ray.errors import ConfigError
from ste_ray.yaml_loader import DuplicateKeyError, load_yaml

# The roles a stage may ask; the models of other roles are none of its business.
STAGE_ROLES: dict[str, tuple[Role, ...]] = {
    "explore": ("explorer", "tool_simulator"),
    "prepare": ("judge", "paraphraser"),
    "infer": ("assistant",),
    "evaluate": ("scorer",),
}
# The stages of a run, in their order; the continual stage runs some of them once a round.
STAGES = ("explore", "prepare", "retrieve", "train", "infer", "evaluate")


def operational(default: Any, **bounds: Any) -> Any:
    """Declare a field that changes how a stage runs, never what it produces."""
    return Field(default=default, json_schema_extra={"operational": True}, **bounds)


def template_options() -> Any:
    """Declare options of a chat template; none are as if the field were not there."""
    return Field(default_factory=dict, json_schema_extra={"unless_empty": True})


class Section(BaseModel):
    """Base of all sections: frozen, refusing unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def result_fields(self) -> dict[str, Any]:
        """The fields that decide what is produced, as JSON values; nested sections included."""
        fields: dict[str, Any] = {}
        for name, info in type(self).model_fields.items():
            extra = info.json_schema_extra
            marks = extra if isinstance(extra, Mapping) else {}
            value = getattr(self, name)
            if marks.get("operational") or (marks.get("unless_empty") and not value):
                continue
            fields[name] = value.result_fields() if isinstance(value, Section) else value
        return fields


class ToolsConfig(Section):
    """Which tools are explored, and how their processes are run."""

    files: tuple[str, ...] = ("builtin",)  # files, folders, or names of shipped sets
    include: tuple[str, ...] = ()  # empty: all
    allow: tuple[str, ...] = ()  # tools that may be called although they are not read-only
    # simulated tools: never; those whose secrets are missing or that cannot be called; always
    simulate: Literal["never", "when_missing", "always"] = "never"
    allow_hosts: tuple[str, ...] = operational(())  # private hosts, host:port or networks to reach
    toolbench_url: str = operational("")  # of a ToolBench or StableToolBench server
    toolbench_form: Literal["hosted", "stable"] = "hosted"
    recordings: str = operational("")  # URI of recorded answers
    recording: Literal["off", "record", "reuse", "replay"] = operational("off")
    max_servers: int = operational(16, ge=1)  # MCP server processes per explorer
    num_workers: int = operational(2, ge=1)  # killable processes per explorer
    memory_mb: int = operational(1024, ge=64)  # address space of one worker process
    today: str = "2026-03-02"  # what tools take for today, so that runs can be repeated

    @field_validator("today", mode="before")
    @classmethod
    def _iso_date(cls, value: object) -> str:
        try:  # a date without quotes is no string in YAML
            return datetime.date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise ValueError("must be a date such as 2026-03-02") from None


class PriceConfig(Section):
    """What a model costs, in US dollars per million tokens."""

    input_usd: float = Field(ge=0)
    output_usd: float = Field(ge=0)
    cached_input_usd: float | None = Field(default=None, ge=0)  # None: as input


class RoleConfig(Section):
    """The model that plays one role; what is left empty is taken from ``llm`` itself."""

    model: str = ""
    base_url: str = ""
    api_key_env: str = operational("")
    provider: Literal["", "compatible", "openai", "azure", "bedrock"] = operational("")
    requests_per_minute: float | None = operational(None, gt=0)
    tokens_per_minute: float | None = operational(None, gt=0)
    sampling: dict[str, Any] = Field(default_factory=dict)  # further fields of the request's body


class LLMConfig(Section):
    """The OpenAI-compatible endpoint, and the model of each role.

    Without ``base_url`` here, ``STE_LLM_BASE_URL`` counts; without that and with a key, OpenAI's
    own address; without a key either, the scripted teacher is started.
    """

    base_url: str = ""
    model: str = ""
    local_model: str = ""  # a model folder that 'transformers serve' shall serve for this run
    api_key_env: str = operational("OPENAI_API_KEY")
    # compatible: the fast client; the others go through the openai SDK
    provider: Literal["compatible", "openai", "azure", "bedrock"] = operational("compatible")
    requests_per_minute: float | None = operational(None, gt=0)  # None: found out while running
    tokens_per_minute: float | None = operational(None, gt=0)
    sampling: dict[str, Any] = Field(default_factory=dict)  # further fields of the request's body
    explorer: RoleConfig = RoleConfig()
    judge: RoleConfig = RoleConfig()
    paraphraser: RoleConfig = RoleConfig()
    assistant: RoleConfig = RoleConfig()
    scorer: RoleConfig = RoleConfig()
    tool_simulator: RoleConfig = RoleConfig()
    prices: dict[str, PriceConfig] = operational({})  # adds to the table of known models
    max_concurrency: int = operational(256, ge=1)  # requests in flight per process
    request_timeout_seconds: float = operational(60.0, gt=0)
    total_timeout_seconds: float = operational(300.0, gt=0)  # of one request with its repetitions
    max_attempts: int = operational(6, ge=1)  # being rate limited does not count as one
    breaker_failures: int = operational(10, ge=1)  # so many alike in a row pause all requests
    breaker_patience_seconds: float = operational(600.0, ge=0)  # how long to wait for a recovery
    teacher_latency_seconds: float = operational(0.0, ge=0)

    @property
    def key_variables(self) -> frozenset[str]:
        """The environment variables that hold the keys of all roles."""
        roles: list[RoleConfig] = [getattr(self, role) for role in get_args(Role)]
        return frozenset({self.api_key_env, *(one.api_key_env for one in roles if one.api_key_env)})


class BudgetLimits(Section):
    """Bounds on what is spent; None: none."""

    max_usd: float | None = operational(None, ge=0)
    max_tokens: int | None = operational(None, ge=0)  # prompt and completion
    max_calls: int | None = operational(None, ge=0)  # requests to models


class BudgetConfig(BudgetLimits):
    """Bounds for the run as a whole, and for each tool."""

    per_tool: BudgetLimits = BudgetLimits()


class ExploreConfig(Section):
    """Simulated trial and error; the defaults are the study's."""

    episodes_per_tool: int = Field(default=15, ge=1)
    trials_per_episode: int = Field(default=4, ge=1)
    max_turns: int = Field(default=4, ge=1)  # observations a trial may see
    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=360, ge=1)
    observation_chars: int = Field(default=2048, ge=16)
    execution_feedback: bool = True
    short_term_memory: bool = True
    long_term_memory: bool = True
    reflection: bool = True
    parallel_episodes: int = Field(default=1, ge=1)  # of one tool; more: older memory, more speed
    num_explorers: int = operational(2, ge=1)
    cpus_per_explorer: float = operational(0.25, ge=0)  # what Ray reserves for one
    tools_per_explorer: int = operational(256, ge=1)  # tools an explorer works on at once
    flush_seconds: float = operational(5.0, gt=0)  # bound on what a crash can lose
    lease_seconds: float = operational(30.0, gt=0)  # an explorer silent for so long counts as lost
    # end the run once this share of its trials came to nothing for one cause that lies in the
    # replies, such as a limit of tokens; 0: never
    stop_when_alike: float = operational(0.9, ge=0, le=1)


class NoCallConfig(Section):
    """Training rows whose right answer is no call, to teach restraint."""

    general: int = Field(default=0, ge=0)  # so many general requests, answered without a call
    held_out_tools: tuple[str, ...] = ()  # the model learns that it does not have these


class MixConfig(Section):
    """What is trained on: the tools, general data, and in rounds what is replayed."""

    tools: bool = True  # false: general data alone, as a baseline
    general_data: str = ""  # a JSON or JSONL file of general examples; empty: none
    general_examples: int = Field(default=2000, ge=0)  # so many of them, drawn by the seed
    general_held_out: int = Field(default=0, ge=0)  # further ones that no training sees, to check
    rounds: tuple[tuple[str, ...], ...] = ()  # names of the tools, in the order they arrive
    replay_fraction: float = Field(default=0.1, ge=0, le=1)  # of each earlier round's examples

    @model_validator(mode="after")
    def _one_round_a_tool(self) -> MixConfig:
        seen: set[str] = set()
        for name in (name for names in self.rounds for name in names):
            if name in seen:
                raise ValueError(f"the tool {name!r} stands in rounds twice; name it once")
            seen.add(name)
        return self


class PrepareConfig(Section):
    """Select, filter, deduplicate, paraphrase, split, format and mix."""

    # what becomes of trials whose observations a model wrote, whose call ended in an error of the
    # tool, or whose arguments do not fit the schema (of tools that judge them themselves)
    simulated_observations: Literal["keep", "drop"] = "keep"
    error_observations: Literal["keep", "drop"] = "keep"
    invalid_arguments: Literal["keep", "drop"] = "keep"
    judge: bool = True  # false: no filter
    judge_temperature: float = Field(default=0.0, ge=0)
    # requests of one tool that read nearly alike: dropped if they also lead to the same call; all;
    # none
    near_duplicates: Literal["same_call", "any", "keep"] = "same_call"
    near_duplicate_similarity: float = Field(default=0.7, gt=0, le=1)  # share of common 4-grams
    target_per_tool: int = Field(default=150, ge=1)
    max_paraphrases: int = Field(default=6, ge=0)
    paraphrase_test: bool = False  # a test request stands for one person's words
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    test_fraction: float = Field(default=0.2, ge=0, lt=1)
    group_by: Literal["query", "arguments", "episode"] = "arguments"  # what must not cross splits
    tool_responses: bool = True  # also train on observation -> final answer
    no_call: NoCallConfig = NoCallConfig()
    mix: MixConfig = MixConfig()
    num_workers: int = operational(2, ge=1)
    flush_seconds: float = operational(5.0, gt=0)

    @model_validator(mode="after")
    def _fractions(self) -> PrepareConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must stay below 1")
        return self


class RetrieveConfig(Section):
    """Candidate tools and demonstrations for each test query."""

    encoder: str = "hashed-ngrams"  # or a sentence-transformers model, by hub name or folder
    num_tools: int = Field(default=15, ge=1)
    # oracle: the right tool always is among the candidates, at a place that tells nothing
    candidates: Literal["retrieved", "oracle"] = "retrieved"
    num_demonstrations: int = Field(default=8, ge=0)
    max_per_tool: int = Field(default=0, ge=0)  # demonstrations of one tool; 0: any number
    # 0: the nearest ones; up to 1: those that resemble the chosen ones least
    diversity: float = Field(default=0.0, ge=0, le=1)
    order: Literal["nearest_last", "nearest_first"] = "nearest_last"  # in the prompt
    # auto: exact search up to a million vectors, beyond that an HNSW index
    search: Literal["auto", "exact", "hnsw"] = "auto"


class ModelConfig(Section):
    """The base model: a folder, hub name or run, or a small Llama built from these numbers."""

    base: str = ""  # empty: built from the numbers below, with a tokenizer trained on the data
    trust_remote_code: bool = False  # run Python code that comes with the base model
    vocab_size: int = Field(default=512, ge=300)
    hidden_size: int = Field(default=128, ge=8)
    num_layers: int = Field(default=2, ge=1)
    num_heads: int = Field(default=4, ge=1)
    max_positions: int = Field(default=2048, ge=64)


def _checked_template_options(options: dict[str, Any]) -> dict[str, Any]:
    check_template_options(options)
    return options


class LoraConfig(Section):
    """Low-rank adapters of all linear layers, for ``train.mode=lora``."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class TrainConfig(Section):
    """Fine-tuning with toolkens under FSDP2 on Ray Train."""

    model: ModelConfig = ModelConfig()
    # what is trained: all weights; adapters and the toolkens' rows; the toolkens' rows alone
    mode: Literal["full", "lora", "toolkens"] = "full"
    lora: LoraConfig = LoraConfig()
    num_epochs: float = Field(default=2.0, gt=0)
    max_steps: int = Field(default=0, ge=0)  # 0: given by num_epochs
    examples_per_step: int = Field(default=64, ge=1)
    max_tokens: int = Field(default=2048, ge=16)
    too_long: Literal["skip", "truncate"] = "skip"  # truncate: the dialog from its left
    learning_rate: float = Field(default=2e-5, gt=0)
    warmup_fraction: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    # auto: fp32 on the CPU; on a GPU mixed: bf16 arithmetic on weights kept in fp32. bf16: all bf16
    precision: Literal["auto", "fp32", "mixed", "bf16"] = "auto"
    toolken_init: Literal["name", "description", "mean"] = "name"
    retire_tools: tuple[str, ...] = ()  # toolkens of the base model to take out of use
    # of the chat template, such as {enable_thinking: false}; the trained model keeps them
    template_options: dict[str, Any] = template_options()
    # auto: rows packed one after another on a GPU, rows of similar length together on the CPU
    batching: Literal["auto", "grouped", "packed"] = operational("auto")
    batch_tokens: int = operational(4096, ge=64)  # tokens of one forward pass, with padding
    activation_checkpointing: bool = operational(False)
    compile: bool = operational(False)
    checkpoint_seconds: float = operational(300.0, ge=0)  # 0: after every step
    keep_checkpoints: int = operational(2, ge=1)
    num_workers: int = operational(2, ge=1)
    min_workers: int = operational(0, ge=0)  # go on with as few when nodes are lost; 0: all
    use_gpu: bool = operational(False)
    max_failures: int = operational(3, ge=0)  # restarts in a row without a new checkpoint
    log_every: int = operational(10, ge=1)

    _checked_options = field_validator("template_options")(_checked_template_options)


class InferConfig(Section):
    """Batch inference on the test split, in one or more settings.

    A setting is ``MODEL/PROMPT``. The model is ``base`` (before training), ``tuned`` (after it),
    ``endpoint`` (``llm.assistant``) or a name of ``models``. The prompt is ``plain`` (all tools in
    it), ``retrieved`` (candidate tools), ``icl`` (with demonstrations too), ``toolken`` (none: the
    model has learned them) or ``dialog`` (the messages that the test data bring).
    """

    settings: tuple[str, ...] = ("base/retrieved", "base/icl", "tuned/toolken")
    models: dict[str, str] = Field(default_factory=dict)  # folder, hub name or URI in a run
    trust_remote_code: bool = False  # run Python code that comes with one of those models
    temperature: float = Field(default=0.0, ge=0)  # 0: greedy
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=128, ge=1)
    constrained: bool = False  # local models can write nothing but calls that fit the schemas
    quantization: Literal["none", "int8"] = "none"  # weights of local models
    # of local models' chat templates, such as {enable_thinking: false}
    template_options: dict[str, Any] = template_options()
    execute: bool = False  # call the tool that was chosen and let the model answer
    batch_size: int = operational(32, ge=1)
    # of a batch, prompts and answers; null: 16,384 on a CPU, any number on a GPU
    batch_tokens: int | None = operational(None, ge=1)
    stall_seconds: float = operational(3600.0, gt=0)  # without a token, until a worker is stuck
    num_workers: int = operational(1, ge=1)
    threads_per_worker: int = operational(1, ge=1)  # CPU threads of one model
    use_gpu: bool = operational(False)
    gpus_per_worker: int = operational(1, ge=1)  # more: layers are spread over them
    flush_seconds: float = operational(5.0, gt=0)

    _checked_options = field_validator("template_options")(_checked_template_options)


class ScorerConfig(Section):
    """A model that decides whether free texts mean the same, where no rule can."""

    enabled: bool = False
    labels: str = ""  # a file of labelled pairs to measure the judge on; empty: it may not gate
    min_kappa: float = Field(default=0.6, ge=-1, le=1)  # below, its verdicts do not count
    min_pairs: int = Field(default=30, ge=1)


class EvaluateConfig(Section):
    """Scoring and its statistics."""

    num_bootstrap: int = Field(default=2000, ge=100)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    judge: ScorerConfig = ScorerConfig()
    flush_seconds: float = operational(5.0, gt=0)


class ContinualConfig(Section):
    """Rounds of tools: train on each, infer on the tests of all so far, score."""

    # replay: with a sample of earlier rounds; no_replay: without; joint: all tools at once
    variants: tuple[Literal["replay", "no_replay", "joint"], ...] = (
        "replay",
        "no_replay",
        "joint",
    )
    setting: Literal["tuned/toolken", "tuned/retrieved", "tuned/icl"] = "tuned/toolken"


class Config(Section):
    """The whole configuration of a run."""

    seed: int = 0
    tools: ToolsConfig = ToolsConfig()
    llm: LLMConfig = LLMConfig()
    budget: BudgetConfig = BudgetConfig()
    explore: ExploreConfig = ExploreConfig()
    prepare: PrepareConfig = PrepareConfig()
    retrieve: RetrieveConfig = RetrieveConfig()
    train: TrainConfig = TrainConfig()
    infer: InferConfig = InferConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    continual: ContinualConfig = ContinualConfig()

    def stage_roles(self, stage: str) -> tuple[Role, ...]:
        """The roles that ``stage`` asks as it is configured."""
        wanted = {
            "infer": any(name.startswith("endpoint/") for name in self.infer.settings),
            "evaluate": self.evaluate.judge.enabled,
        }
        return STAGE_ROLES.get(stage, ()) if wanted.get(stage, True) else ()

    def stage_fields(self, stage: str) -> dict[str, Any]:
        """What decides the result of ``stage``: its own section and the shared ones it reads."""
        section: Section = getattr(self, stage)
        fields = {"seed": self.seed, stage: section.result_fields()}
        if stage == "explore":
            fields["tools"] = self.tools.result_fields()
        if stage == "continual":
            for name in ("train", "retrieve", "infer", "evaluate"):
                section = getattr(self, name)
                fields[name] = section.result_fields()
        if stage == "infer" and self.infer.execute:
            fields["tools"] = self.tools.result_fields()
        if roles := self.stage_roles(stage):
            others = {role for role in get_args(Role) if role not in roles}
            llm = self.llm.result_fields()
            fields["llm"] = {name: value for name, value in llm.items() if name not in others}
        return fields

    def stage_fingerprint(self, stage: str) -> str:
        """Identity of what ``stage`` is asked to produce."""
        return fingerprint(self.stage_fields(stage))


def load_config(file: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file and apply ``section.key=value`` overrides (values are YAML).

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown, or a value is refused.
    """
    values: dict[str, Any] = {}
    if file is not None:
        values = _read_yaml(Path(file))
    for override in overrides:
        _apply_override(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, file)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"no configuration file {str(path)!r}; give --config an existing YAML file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read configuration file {str(path)!r}: {error}") from None
    try:
        values = load_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{str(path)!r} is no valid YAML: {detail}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{str(path)!r} must hold sections such as 'explore:', not {values!r}")
    return {key: value for key, value in values.items() if value is not None}  # bare headings


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(
            f"{override!r} is no override; write section.key=value, e.g. explore.max_turns=3"
        )
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        detail = f": {error}" if isinstance(error, DuplicateKeyError) else ""
        raise ConfigError(f"the value of override {override!r} is no valid YAML{detail}") from None
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise ConfigError(f"{override!r}: {section!r} is a value, not a section")
    values[last] = value


def _explain(error: ValidationError, file: str | None) -> str:
    where = f"configuration {file!r}" if file else "configuration"
    # A misspelt key is unknown and may leave another one missing: the former tells more.
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return _explain_unknown_key(path, where)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "model_type":
        message = "must be a section with keys of its own"
    elif problem["type"] == "tuple_type":
        message = "must be a list, such as [a, b]"
    return f"{where}: {'.'.join(path) or 'the file'}={problem['input']!r}: {message}"


def _explain_unknown_key(path: list[str], where: str) -> str:
    model: Any = Config
    for part in path[:-1]:
        # In a mapping such as llm.prices the keys are the user's own.
        mapped = get_origin(model) is dict
        model = get_args(model)[1] if mapped else model.model_fields[part].annotation
    allowed = sorted(model.model_fields)
    close = difflib.get_close_matches(path[-1], allowed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{where}: unknown key {'.'.join(path)!r}; {hint}allowed here: {', '.join(allowed)}"
