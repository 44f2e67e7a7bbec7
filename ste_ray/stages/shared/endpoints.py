"""The endpoints a stage asks, checked before its work starts; without any, a stand-in is served."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import ray

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.asked_models import SCRIPT_NOTE
from ste_ray.core.effects import Role
from ste_ray.errors import RunConflictError
from ste_ray.llm.checking import check_endpoints
from ste_ray.llm.endpoint import Endpoints, roles_without_address
from ste_ray.llm.local_server import running_local_model
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher
from ste_ray.stages.base import StageContext
from ste_ray.store.artifacts import RunStore, encode_json
from ste_ray.store.manifest import read_manifest


@contextmanager
def open_endpoints(context: StageContext, stage: str, roles: Sequence[Role]) -> Iterator[Endpoints]:
    """Yield the endpoints of ``roles``, checked, and note in the run which models answer.

    Raises:
        EndpointError: an endpoint cannot be reached or refuses the key.
    """
    host = ray.util.get_node_ip_address()
    with served_endpoints(context.config, stage, roles, host, context.progress) as endpoints:
        if endpoints.scripted:
            context.notes.append(SCRIPT_NOTE)
        _keep_models(context.store, stage, {role: endpoints.models[role] for role in roles})
        yield endpoints


@contextmanager
def served_endpoints(
    config: Config, stage: str, roles: Sequence[Role], host: str, say: Callable[[str], None]
) -> Iterator[Endpoints]:
    """Yield the endpoints of ``roles``, checked.

    With ``llm.local_model`` that model is served meanwhile; roles without any endpoint are played
    by the scripted teacher.

    Args:
        config: the whole configuration.
        stage: who asks them, for the lines that are said.
        roles: those that are asked.
        host: an address of this machine, for what is served here.
        say: tells the person who waits.

    Raises:
        EndpointError: an endpoint cannot be reached or refuses the key.
    """
    section = config.llm
    with ExitStack() as stack:
        use_proxy, teacher_url = True, ""
        if section.local_model:
            url = stack.enter_context(running_local_model(section.local_model, host))
            say(f"{stage}: serving {section.local_model!r} at {url}")
            served = {"base_url": url, "model": section.local_model}
            section, use_proxy = section.model_copy(update=served), False
        elif roles_without_address(section, roles, os.environ):
            settings = TeacherSettings(
                seed=config.seed, latency_seconds=section.teacher_latency_seconds
            )
            teacher_url = stack.enter_context(running_teacher(settings, host=host))
            say(
                f"{stage}: no endpoint is configured (STE_LLM_BASE_URL or OPENAI_API_KEY): "
                "the scripted teacher, a script and not a language model, answers"
            )
        yield check_endpoints(
            section,
            roles,
            os.environ,
            teacher_url,
            use_proxy,
            warn=lambda text: say(f"{stage}: {text}"),
        )


def check_before_ray(config: Config, store: RunStore, stages: Sequence[str]) -> None:
    """Refuse settings under which a script would answer where a language model is expected.

    Stages of ``store`` that are complete ask nobody.

    Raises:
        ConfigError: see ``roles_without_address``.
    """
    if config.llm.local_model:
        return
    for stage in stages:
        # Which tools a model plays is known once the tool files are read.
        roles = config.stage_roles(stage, simulates=False)
        if roles and read_manifest(store, stage) is None:
            roles_without_address(config.llm, roles, os.environ)


def _keep_models(store: RunStore, stage: str, models: dict[Role, str]) -> None:
    """Note which models answer; a stage that goes on must ask the same ones."""
    path = layout.models(stage)
    if store.create_bytes(path, encode_json(models)):
        return
    before = store.read_json(path)
    if before != models:
        raise RunConflictError(
            f"{stage} was begun in {store.uri!r} with the models {before!r} and would go on with "
            f"{models!r}; set llm.model as before, or give another --run"
        )
