"""What is asked at inference: settings, test queries, and what a prompt may show of tools."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Example, Message, Record
from ste_ray.core.texts.nearest import did_you_mean, nearest
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError

PromptKind = Literal[
    "plain", "retrieved", "icl", "toolken", "dialog", "native", "native_plain", "native_icl"
]
PROMPT_KINDS: tuple[PromptKind, ...] = get_args(PromptKind)
#: Those of any request; a dialog is what test data bring.
OWN_PROMPTS = tuple(kind for kind in PROMPT_KINDS if kind != "dialog")

ENDPOINT = "endpoint"
RUN_MODELS = ("base", "tuned")  # of the run itself, before and after training
# No model has toolkens before training, nor has one that is reached by its text alone.
_WITHOUT_TOOLKENS = ("base", ENDPOINT)
_NATIVE: tuple[PromptKind, ...] = ("native", "native_plain", "native_icl")


@dataclass(frozen=True)
class Setting:
    """One way to answer the test queries, written ``MODEL/PROMPT``.

    Attributes:
        model: ``base`` before training, ``tuned`` after it, ``endpoint``, or a name that the
            configuration gives a model.
        prompt: what the prompt shows: all tools (``plain``), candidates (``retrieved``), with
            demonstrations too (``icl``), none (``toolken``), or what the test data bring
            (``dialog``). With native calls, the request offers candidates (``native``), all tools
            (``native_plain``), or shows demonstrations as earlier turns too (``native_icl``). A
            local model is offered them, and calls them, in the form of its chat template.
        variant: another way to ask the same (``ste_ray.core.inferring.variants``); empty: as the
            configuration has it.
    """

    model: str
    prompt: PromptKind
    variant: str = ""

    @property
    def name(self) -> str:
        """The setting as it is written in the configuration, with its variant behind a dot."""
        return f"{self.model}/{self.prompt}{self._suffix}"

    @property
    def folder_name(self) -> str:
        """The setting as one part of a path."""
        return f"{self.model}-{self.prompt}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return f".{self.variant}" if self.variant else ""

    @property
    def is_endpoint(self) -> bool:
        """Whether an endpoint answers, and not a model that is loaded here."""
        return self.model == ENDPOINT

    @property
    def needs_retrieval(self) -> bool:
        """Whether the prompt shows anything that was retrieved for the query."""
        return self.prompt in ("retrieved", "icl", "native", "native_icl")

    @property
    def shows_demonstrations(self) -> bool:
        """Whether the prompt shows training requests with their calls."""
        return self.prompt in ("icl", "native_icl")

    @property
    def is_native(self) -> bool:
        """Whether tools are offered, and called, by native tool calling."""
        return self.prompt in _NATIVE


def parse_settings(
    names: Sequence[str], models: Collection[str] = (), where: str = "infer.settings"
) -> list[Setting]:
    """Return the settings called ``names``.

    Args:
        names: of the settings.
        models: names of models besides ``base``, ``tuned`` and ``endpoint``.
        where: they are given, for errors.

    Raises:
        ConfigError: there is no setting, one is unknown, or one is given twice.
    """
    known = (*RUN_MODELS, ENDPOINT, *models)
    allowed = (
        f"MODEL/PROMPT, with the model one of {', '.join(known)} and the prompt one of "
        f"{', '.join(PROMPT_KINDS)}; toolken needs a model that was trained with them"
    )
    for model in models:
        if model in (*RUN_MODELS, ENDPOINT) or not _is_plain(model):
            raise ConfigError(
                f"infer.models names a model {model!r}; use letters, digits and _, and none of "
                f"{', '.join((*RUN_MODELS, ENDPOINT))}"
            )
    if not names:
        raise ConfigError(f"{where} is empty; give at least one {allowed}")
    settings = []
    for name in names:
        model, _, prompt = name.partition("/")
        impossible = prompt == "toolken" and model in _WITHOUT_TOOLKENS
        if model not in known or prompt not in PROMPT_KINDS or impossible:
            near = [
                f"{a}/{b}" for a in nearest(model, known) for b in nearest(prompt, PROMPT_KINDS)
            ]
            hint = did_you_mean(name, [one for one in near if one != name])
            raise ConfigError(f"unknown setting {name!r} in {where}{hint}; allowed: {allowed}")
        if names.count(name) > 1:
            raise ConfigError(f"setting {name!r} is given twice in {where}; give it once")
        settings.append(Setting(model, prompt))
    return settings


def _is_plain(name: str) -> bool:
    return name.isascii() and name.replace("_", "").isalnum()


class Query(Record):
    """A test query, with what was retrieved for it and what its test data bring.

    ``tools`` are names of candidates, ``demonstrations`` ids of training examples, both best first.
    ``shown`` are names of the tools that the prompt shows instead; None: what its setting shows.
    """

    example: Example
    tools: tuple[str, ...] = ()
    demonstrations: tuple[str, ...] = ()
    dialog: tuple[Message, ...] = ()
    shown: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PromptMaterial:
    """What prompts are made of.

    Attributes:
        specs: all tools by name.
        demonstrations: training examples by id, at least those that were retrieved.
        prompts: the prompt templates.
        nearest_last: whether the most similar demonstration stands next to the query.
        tool_choice: whether a model must call, where it calls natively.
        keep_reasoning: whether it gets back what it reasoned before its native call.
    """

    specs: Mapping[str, ToolSpec]
    demonstrations: Mapping[str, Example]
    prompts: PromptSet
    nearest_last: bool = True
    tool_choice: Literal["auto", "required"] = "auto"
    keep_reasoning: bool = False


@dataclass(frozen=True)
class PromptContents:
    """What a prompt may show, best first; from the end of each list something may be left out."""

    tools: Sequence[ToolSpec] = ()
    demonstrations: Sequence[Example] = ()

    def without(self, left_out: int) -> PromptContents:
        """Return it without its last items: tools first, all but one, then demonstrations."""
        spare = max(len(self.tools) - 1, 0)
        num_tools = len(self.tools) - min(left_out, spare)
        num_demonstrations = len(self.demonstrations) - max(left_out - spare, 0)
        return PromptContents(
            self.tools[:num_tools], self.demonstrations[: max(num_demonstrations, 0)]
        )

    @property
    def most_left_out(self) -> int:
        """How many items may be left out at most."""
        return max(len(self.tools) - 1, 0) + len(self.demonstrations)


def prompt_contents(setting: Setting, query: Query, material: PromptMaterial) -> PromptContents:
    """Return what the prompt of ``query`` shows in ``setting``.

    As in the published study, an endpoint sees all tools beside demonstrations, a local model the
    candidates.
    """
    if query.shown is not None:
        keys = query.demonstrations if setting.shows_demonstrations else ()
        return PromptContents(
            tuple(material.specs[name] for name in query.shown),
            tuple(material.demonstrations[key] for key in keys),
        )
    if not setting.needs_retrieval:
        shows_all = setting.prompt in ("plain", "native_plain")
        shown = material.specs.values() if shows_all else ()
        return PromptContents(tuple(shown))
    demonstrations = query.demonstrations if setting.shows_demonstrations else ()
    all_tools = setting.is_endpoint and setting.shows_demonstrations
    return PromptContents(
        tuple(material.specs.values())
        if all_tools
        else tuple(material.specs[name] for name in query.tools),
        tuple(material.demonstrations[key] for key in demonstrations),
    )
