"""Makes an ``Asker`` of a run: its tools, what it retrieves, and the model of one setting."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import (
    OWN_PROMPTS,
    PromptMaterial,
    Query,
    Setting,
    parse_settings,
)
from ste_ray.core.records import Example, canonical_json, text_fingerprint
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.retrieval.encoder import make_encoder
from ste_ray.retrieval.index import RetrievalIndex
from ste_ray.stages.ask.asking import Asker
from ste_ray.stages.ask.exchange import Assistant
from ste_ray.stages.ask.recorded import (
    default_setting,
    has_toolkens,
    possible_settings,
)
from ste_ray.stages.base import load_prompts, read_specs
from ste_ray.stages.shared.final_answers import words_answers
from ste_ray.stages.shared.tools import open_tools, permissions
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import read_records

_HOST = "127.0.0.1"  # where what is served for an answer listens


@contextmanager
def open_asker(
    store: RunStore, config: Config, setting: str | None, say: Callable[[str], None]
) -> Iterator[Asker]:
    """Yield what answers requests in a setting; its model is loaded once.

    Args:
        store: the run; nothing is written into it.
        config: the whole configuration.
        setting: ``MODEL/PROMPT``; None: the run's trained model, with toolkens if it has them.
        say: tells the person who waits.

    Raises:
        StageInputError: there is no run, or it lacks what the setting needs.
        ConfigError: there is no such setting, or a model cannot be fetched.
        EndpointError: the endpoint cannot be reached or refuses the key.
    """
    specs = _specs(store)
    with _naming_settings(store, config):
        chosen = _chosen(store, config, setting, say)
        training = _demonstrations(store, config) if chosen.shows_demonstrations else []
    material = PromptMaterial(
        specs=specs,
        demonstrations={example.example_id: example for example in training},
        prompts=load_prompts(),
        nearest_last=config.retrieve.order == "nearest_last",
        tool_choice=config.infer.tool_choice,
        keep_reasoning=bool(config.llm.keep_reasoning),
    )
    index = _index(material, training, config) if chosen.needs_retrieval else None
    allow, hosts = permissions(config.tools)
    tools = config.tools.model_copy(update={"allow_hosts": hosts})
    words = words_answers(store, chosen, config.infer.models)
    if not words:
        say(
            "ask: the model was not trained on final answers (prepare.tool_responses,"
            " prepare.response_fraction): what a tool answers is the answer"
        )
    if note := _day_note(config.tools.today, specs.values()):
        say(note)
    with ExitStack() as stack:
        with _naming_settings(store, config):
            assistant = _assistant(stack, store, chosen, material, config, say)
        yield Asker(
            assistant,
            material,
            lambda request: _query(request, index),
            open_tools(tools, specs),
            allow,
            words,
        )


def _specs(store: RunStore) -> dict[str, ToolSpec]:
    try:
        return read_specs(store)
    except FileNotFoundError:
        raise StageInputError(
            f"there is no run at {store.uri!r}: {store.address(layout.TOOLS)!r} is missing; give"
            " the --run of a stage"
        ) from None


def _chosen(
    store: RunStore, config: Config, setting: str | None, say: Callable[[str], None]
) -> Setting:
    if setting is None:
        setting, why = default_setting(store)
        say(f"ask: setting {setting!r}: {why}; --setting names another")
    (chosen,) = parse_settings([setting], config.infer.models, "--setting")
    if chosen.prompt == "dialog":
        raise ConfigError(
            f"--setting {setting!r} asks what a test set brings; for requests of your own use"
            f" another prompt: {', '.join(OWN_PROMPTS)}"
        )
    return chosen


@contextmanager
def _naming_settings(store: RunStore, config: Config) -> Iterator[None]:
    """Let an error of what a setting needs name the settings that the run has all for."""
    try:
        yield
    except StageInputError as error:
        possible = ", ".join(possible_settings(store, config))
        raise StageInputError(
            f"{error}; --setting can be, with what the run has: {possible} (those of 'endpoint'"
            " with an endpoint, native ones of other models where their chat template knows tools)"
        ) from None


def _day_note(today: str, specs: Collection[ToolSpec]) -> str:
    """Say which day tools take for today, if that is another and one of them may look at it.

    Python tools alone are told; that they look at it, their description says.
    """
    if today == datetime.date.today().isoformat():
        return ""
    python = (spec for spec in specs if spec.kind == "python")
    if not any("today" in canonical_json(spec.model_dump(mode="json")).lower() for spec in python):
        return ""
    return (
        f"ask: tools take {today} for today, as the run had it, so that its figures can be"
        " repeated; for another day give tools.today=YYYY-MM-DD"
    )


def _demonstrations(store: RunStore, config: Config) -> list[Example]:
    """Return the examples that the stage retrieve chooses from."""
    if not config.retrieve.num_demonstrations:
        return []
    found = [one for one in read_records(store, layout.EXAMPLES, Example) if one.split == "train"]
    if not found:
        raise StageInputError(
            f"there is no train example in {store.address(layout.EXAMPLES)!r} to demonstrate calls"
            " with; use the prompt 'retrieved', or run 'ste-ray prepare' first"
        )
    return sorted(found, key=lambda example: example.example_id)


def _index(material: PromptMaterial, training: Sequence[Example], config: Config) -> RetrievalIndex:
    # Which tool is the right one nobody knows here, so that no oracle can add it.
    section = config.retrieve.model_copy(update={"candidates": "retrieved"})
    encoder = make_encoder(section.encoder)
    return RetrievalIndex(encoder, list(material.specs.values()), training, section, config.seed)


def _query(request: str, index: RetrievalIndex | None) -> Query:
    """Return a request as a test query, of which the right call is not known."""
    name = f"ask-{text_fingerprint(request)}"
    example = Example(
        example_id=name,
        group_id=name,
        trial_id="",
        tool="",
        query=request,
        origin="explored",
        arguments_json="{}",
        observation="",
        final_answer="",
        split="test",
    )
    if index is None:
        return Query(example=example)
    (found,) = index.retrieve([example])
    return Query(
        example=example,
        tools=tuple(hit.key for hit in found.tools),
        demonstrations=tuple(hit.key for hit in found.demonstrations),
    )


def _assistant(
    stack: ExitStack,
    store: RunStore,
    setting: Setting,
    material: PromptMaterial,
    config: Config,
    say: Callable[[str], None],
) -> Assistant:
    """Return the model of a setting; what is served for it ends with ``stack``."""
    if setting.is_endpoint:
        from ste_ray.stages.ask.endpoint import EndpointAssistant
        from ste_ray.stages.shared.endpoints import served_endpoints

        served = served_endpoints(config, "ask", ("assistant",), _HOST, say)
        return EndpointAssistant(stack.enter_context(served), setting, material, config)
    from ste_ray.stages.ask.local import LocalAssistant
    from ste_ray.stages.infer.models import load_named_model
    from ste_ray.stages.infer.needs import check_model, check_native

    check_model(store, setting, config)
    if told := check_native(store, setting, config):
        say(f"ask: {told}")
    if setting.name == "tuned/toolken" and not has_toolkens(store):  # told before it is loaded
        raise StageInputError(
            f"the model of setting {setting.name!r} has no toolken of any tool, since it was"
            " trained without them"
        )
    return LocalAssistant(load_named_model(store, setting.model, config), setting, material, config)
