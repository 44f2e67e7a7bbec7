from __future__ import annotations

import datetime
import subprocess
import sys
import typing
from typing import get_args

import pytest

from ste_ray.cli.main import main
from ste_ray.config import Config, is_override, load_config
from ste_ray.config.root import config_keys
from ste_ray.core.effects import Role
from ste_ray.core.inferring.perturbing import Perturbation
from ste_ray.core.stages import STAGES
from ste_ray.errors import ConfigError
from ste_ray.resources import resource_folder
from ste_ray.stages.shared.endpoints import check_before_ray
from ste_ray.store.artifacts import open_store

ALL = (*STAGES, "continual")
READERS = {
    "seed": set(ALL),
    "trust_remote_code": {"train", "infer", "continual"},
    "tools": {"explore"},
    "llm": {"explore", "prepare"},
} | {stage: {stage, "continual"} for stage in ("train", "retrieve", "infer", "evaluate")}


def leaves():
    """Yield (path, field) of every single setting."""
    for key, field in config_keys():
        yield tuple(key.split(".")), field


OTHERS = {
    "today": "2001-02-03",
    "base_url": "http://other/v1",
    "prices": {"my-model": {"input_usd": 1, "output_usd": 2}},
    "sampling": {"top_p": 0.5},
    "template_options": {"enable_thinking": False},
    "settings": ["base/icl"],
    "models": {"mine": "/models/mine"},
    "variants": ["joint"],
    "rounds": [["one", "two"], ["three"]],
    "drop": ["errors"],
}


# What a key says counts only beside another one.
BESIDE = {
    ("prepare", "correction_fraction"): {"prepare": {"trajectories": "corrections"}},
    ("explore", "patience"): {"explore": {"plan": "adaptive"}},
    ("explore", "suggest_unvisited"): {"explore": {"plan": "adaptive"}},
    ("explore", "confused_in"): {"explore": {"plan": "adaptive"}},
}


def another(path, field):
    """A valid value that is not the default."""
    default = field.default
    if path[-1] in OTHERS:
        return OTHERS[path[-1]]
    if path == ("track",):
        return ("wandb",)
    if path == ("infer", "sweep"):
        return (5,)
    if path == ("infer", "perturb"):
        return get_args(Perturbation)[:1]
    if default is None:
        return 7
    if typing.get_origin(field.annotation) is typing.Literal:
        return next(one for one in typing.get_args(field.annotation) if one != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if isinstance(default, float):
        return default / 2 + 0.01
    return (*default, "other") if isinstance(default, tuple) else f"{default}other"


def nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


def readers(path):
    """The stages whose result a field decides."""
    if path[0] == "llm" and path[1] in get_args(Role):
        return {stage for stage in STAGES if path[1] in Config().stage_roles(stage)}
    return READERS.get(path[0], {path[0]})


@pytest.mark.parametrize(
    ("path", "field"), [pytest.param(*leaf, id=".".join(leaf[0])) for leaf in leaves()]
)
def test_operational_fields_alone_leave_the_fingerprints_as_they_are(path, field):
    beside = BESIDE.get(path, {})
    given = {
        key: {**beside.get(key, {}), **section} if isinstance(section, dict) else section
        for key, section in nested(path, another(path, field)).items()
    }
    before, after = Config.model_validate(beside), Config.model_validate(given)
    assert before != after
    changed = {
        stage for stage in ALL if before.stage_fingerprint(stage) != after.stage_fingerprint(stage)
    }
    is_operational = bool((field.json_schema_extra or {}).get("operational"))
    assert changed == (set() if is_operational else readers(path))


def test_models_of_infer_and_evaluate_count_where_they_are_asked():
    def prints(**sections):
        config = Config.model_validate(sections)
        return config.stage_fingerprint("infer"), config.stage_fingerprint("evaluate")

    asking = {"infer": {"settings": ["endpoint/plain"]}, "evaluate": {"judge": {"enabled": True}}}
    before = prints(**asking)
    assistant = prints(**asking, llm={"assistant": {"model": "other"}})
    scorer = prints(**asking, llm={"scorer": {"model": "other"}})
    assert [one == other for one, other in zip(before, assistant, strict=True)] == [False, True]
    assert [one == other for one, other in zip(before, scorer, strict=True)] == [True, False]


@pytest.mark.parametrize(
    ("stage", "section", "roles"),
    [
        ("prepare", {}, ("judge", "paraphraser")),
        ("prepare", {"judge": False}, ("paraphraser",)),
        ("prepare", {"max_paraphrases": 0}, ("judge",)),
        ("prepare", {"judge": False, "max_paraphrases": 0}, ()),
        ("infer", {"settings": ["plain"]}, ()),
        ("infer", {"settings": ["plain", "endpoint/plain"]}, ("assistant",)),
        ("evaluate", {}, ()),
        ("evaluate", {"judge": {"enabled": True}}, ("scorer",)),
        ("train", {}, ()),
    ],
)
def test_a_stage_asks_the_roles_that_its_section_wants(stage, section, roles):
    config = Config.model_validate({stage: section})
    assert config.stage_roles(stage) == roles
    llm = config.stage_fields(stage).get("llm")
    assert (llm is not None) == bool(roles)
    assert {role for role in get_args(Role) if role in (llm or ())} == set(roles)


def test_explore_asks_a_simulator_where_a_model_plays_tools():
    assert Config().stage_roles("explore") == ("explorer", "tool_simulator")
    assert Config().stage_roles("explore", simulates=False) == ("explorer",)


def test_a_model_without_an_endpoint_is_no_matter_where_nobody_is_asked(tmp_path, monkeypatch):
    for name in ("STE_LLM_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    store = open_store(str(tmp_path))
    named = {"llm": {"model": "some-model"}}
    with pytest.raises(ConfigError, match="some-model"):
        check_before_ray(Config.model_validate(named), store, ["prepare"])
    without = {"prepare": {"judge": False, "max_paraphrases": 0}}
    check_before_ray(Config.model_validate(named | without), store, ["prepare"])


def test_workers_and_timeouts_are_operational_and_what_shapes_data_is_not():
    operational = {".".join(path) for path, field in leaves() if field.json_schema_extra}
    assert operational >= {"explore.num_explorers", "llm.max_attempts", "tools.memory_mb"}
    assert not operational & {"seed", "explore.max_turns", "train.learning_rate", "llm.model"}


@pytest.mark.parametrize(
    "path", sorted(resource_folder("jobs").glob("*.yaml")), ids=lambda p: p.stem
)
def test_shipped_configurations_load(path):
    assert load_config(str(path)) != Config()


def test_the_defaults_are_those_of_the_study():
    explore, prepare, train = Config().explore, Config().prepare, Config().train
    assert (explore.episodes_per_tool, explore.trials_per_episode) == (15, 4)
    assert (explore.max_turns, explore.temperature, explore.max_tokens) == (4, 1.0, 360)
    assert explore.observation_chars == 2048
    assert (prepare.target_per_tool, prepare.max_paraphrases) == (150, 6)
    assert (train.num_epochs, train.learning_rate, train.warmup_fraction) == (2, 2e-5, 0.03)
    assert (train.examples_per_step, train.max_tokens) == (64, 2048)


def test_how_long_requests_wait_follows_from_one_key():
    llm, patient = Config().llm, load_config(None, ["llm.patience_seconds=3600"]).llm
    assert (llm.outage_patience_seconds, llm.total_timeout_seconds) == (600, 300)
    assert (patient.outage_patience_seconds, patient.total_timeout_seconds) == (3600, 1800)


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_file_then_overrides_then_defaults(write):
    file = write("seed: 3\nexplore:\n  max_turns: 2\ntrain:\n  model: {num_layers: 5}\n")
    config = load_config(
        file,
        [
            "explore.max_turns=9",
            "train.model.num_heads=8",
            "train.learning_rate=2e-5",
            "tools.files=[a.yaml, b.yaml]",
            "explore.reflection=false",
            "llm.model=llama3:8b",
            "llm.base_url=http://host:8000/v1?a=b",
        ],
    )
    assert (config.seed, config.explore.max_turns, config.explore.reflection) == (3, 9, False)
    assert (config.train.model.num_layers, config.train.model.num_heads) == (5, 8)
    assert config.train.learning_rate == pytest.approx(2e-5)
    assert config.tools.files == ("a.yaml", "b.yaml")
    assert config.llm.base_url == "http://host:8000/v1?a=b"
    assert config.llm.model == "llama3:8b"
    assert config.explore.trials_per_episode == 4


@pytest.mark.parametrize("text", ["", "# nothing\n", "explore:\n", "explore:\nseed:\n"])
def test_empty_files_and_headings_are_the_defaults(write, text):
    assert load_config(write(text)) == Config()
    assert load_config(write(text), ["explore.max_turns=2"]).explore.max_turns == 2


def test_a_date_needs_no_quotes(write):
    assert load_config(write("tools:\n  today: 2026-01-31\n")).tools.today == "2026-01-31"
    assert load_config(None, ["tools.today=2026-01-31"]).tools.today == "2026-01-31"
    datetime.date.fromisoformat(Config().tools.today)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("explore:\n  max_turn: 2\n", ["'explore.max_turn'", "did you mean 'max_turns'?"]),
        ("train:\n  model:\n    layers: 2\n", ["'train.model.layers'", "allowed here: base, "]),
        ("explore:\n  max_usd: 2\n", ["'explore.max_usd'", "did you mean 'budget.max_usd'?"]),
        ("prepare: {rounds: []}\n", ["'prepare.rounds'", "mean 'prepare.mix.rounds'?"]),
        ("infer: {encodr: x}\n", ["'infer.encodr'", "did you mean 'retrieve.encoder'?"]),
        ("max_turns: 2\n", ["unknown key 'max_turns'", "did you mean 'explore.max_turns'?"]),
        ("train: {temperatures: 1}\n", ["mean 'explore.temperature' or 'infer.temperature'?"]),
        ("explor:\n  max_turns: 2\n", ["'explor'", "did you mean 'explore'?"]),
        ("explore:\n  max_turns: many\n", ["explore.max_turns='many'", "valid integer"]),
        ("explore:\n  max_turns: 0\n", ["explore.max_turns=0", "greater than or equal to 1"]),
        ("explore: 3\n", ["explore=3"]),
        ("tools:\n  today: tomorrow\n", ["tools.today='tomorrow'", "2026-03-02"]),
        ("prepare:\n  group_by: tool\n", ["prepare.group_by='tool'", "'query', 'arguments' or"]),
        (
            "prepare: {test_fraction: 0.6, validation_fraction: 0.4}\n",
            ["validation_fraction + test_fraction must stay below 1"],
        ),
        (
            "prepare: {mix: {rounds: [[a, b], [a]]}}\n",
            ["the tool 'a' stands in rounds twice"],
        ),
        ("llm: {prices: {m: {input: 1}}}\n", ["'llm.prices.m.input'", "'input_usd'"]),
        ("llm: {judge: {modell: m}}\n", ["'llm.judge.modell'", "did you mean 'model'?"]),
        ("budget: {max_usd: -1}\n", ["budget.max_usd=-1", "greater than or equal to 0"]),
        ("1: 2\n", ["Keys should be strings"]),
        ("explore: [\n", ["is no valid YAML"]),
        ("a: !!python/object/apply:os.getcwd []\n", ["is no valid YAML"]),
        ("- explore\n", ["must hold sections such as 'explore:'"]),
        (b"seed: \xff\n", ["cannot read configuration file"]),
    ],
)
def test_a_wrong_file_is_one_line_that_names_place_and_value(write, text, parts):
    file = write(text)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    message = str(error.value)
    assert repr(file) in message
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("explore.max_turns", "is no override; write section.key=value"),
        ("=3", "is no override"),
        ("explore.max_turns=[1", "is no valid YAML"),
        ("seed.x=1", "seed={'x': 1}"),
        ("explore.max_turns=x", "explore.max_turns='x'"),
        ("explore.turns=1", "unknown key 'explore.turns'"),
        ("nothing=1", "unknown key 'nothing'"),
    ],
)
def test_a_wrong_override_is_named(override, part):
    with pytest.raises(ConfigError) as error:
        load_config(None, [override])
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=3", True),
        ("flush_seconds=1", True),
        ("infer.models.My-Model=/m", True),
        ("tools.servers.maps.env.API_KEY2=x", True),
        ("explore.max_turns=", True),
        ("explore.max_turns", False),
        ("x=3", False),
        ("=3", False),
        ("Is 1.5 + 1.5=3?", False),
        ("What is infer.models.mine=/m?", False),
    ],
)
def test_an_override_is_told_from_a_sentence(text, expected):
    assert is_override(text) is expected


def test_an_override_below_a_value_is_refused(write):
    with pytest.raises(ConfigError, match=r"'seed.x=1': 'seed' is a value, not a section"):
        load_config(write("seed: 2\n"), ["seed.x=1"])


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    missing = str(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=f"no configuration file '{missing}'; give --config"):
        load_config(missing)
    with pytest.raises(ConfigError, match="cannot read configuration file"):
        load_config(str(tmp_path))


def test_the_configuration_of_a_command_is_shown(write, capsys):
    file = write("explore: {max_turns: 2}\n")
    assert main(["config", "show", "--config", file, "llm.model=m"]) == 0
    shown = capsys.readouterr().out
    assert load_config(write(shown)) == load_config(file, ["llm.model=m"])
    assert main(["config", "show", "--json", "explore.max_usd=1"]) == 2
    assert "did you mean 'budget.max_usd'?" in capsys.readouterr().err


def test_the_command_line_answers_before_anything_large_is_imported():
    code = (
        "import sys; from ste_ray.cli.main import argument_parser; argument_parser(); "
        "print(sorted({'pydantic', 'ray', 'torch', 'ste_ray.config'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
