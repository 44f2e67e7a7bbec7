"""What the manifests say of each stage, and what a reader must know before believing a figure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from ste_ray.core.asked_models import SCRIPT_NOTE, TEACHER_MODEL
from ste_ray.core.effects import Role
from ste_ray.core.preparing.ledger import FEW_EXAMPLES_NOTE
from ste_ray.core.texts.cutting import cut_text
from ste_ray.core.texts.local_paths import public_name
from ste_ray.report.ledger import LedgerView
from ste_ray.report.view import View

MAX_CHARS = 20_000


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


def view_stage(name: str, manifest: Mapping[str, Any] | None) -> StageView:
    """Return a stage as its manifest describes it; without one it has not run."""
    if manifest is None:
        return StageView(name=name, ran=False)
    config = json.dumps(manifest.get("config", {}), indent=2, ensure_ascii=False)
    return StageView(
        name=name,
        ran=True,
        started_at=utc_time(manifest.get("started_at")),
        seconds=float(manifest.get("seconds") or 0.0),
        seed=manifest.get("seed"),
        code_version=str(manifest.get("code_version", "")),
        config_fingerprint=str(manifest.get("config_fingerprint", "")),
        config_text=cut_text(config, MAX_CHARS),
        counts=tuple(_flat(manifest.get("counts") or {})),
        inputs=tuple((str(k), str(v)) for k, v in (manifest.get("inputs") or {}).items()),
        notes=tuple(str(note) for note in manifest.get("notes") or ()),
    )


def utc_time(seconds: object) -> str:
    """Return seconds since 1970 as a UTC time to the minute; other values are shown as given."""
    if not isinstance(seconds, int | float):
        return str(seconds or "")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _flat(counts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield counts with nested ones named ``outer: inner``."""
    for name, value in counts.items():
        label = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label}: ")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            yield label, cut_text(str(value), 200)
        else:
            yield label, f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def view_notices(
    manifests: Mapping[str, Mapping[str, Any]],
    models: Mapping[str, Collection[str]],
    ledger: LedgerView | None,
    demo_model: Mapping[str, Any] | None = None,
) -> tuple[Notice, ...]:
    """Return what the figures do not say of themselves, cautions first.

    Args:
        manifests: of the stages that ran, by name.
        models: role -> every name of a model that its endpoint reported.
        ledger: for tools with too few examples.
        demo_model: of a demo, which base model it took and why.
    """
    notes = {
        stage: [str(note) for note in manifest.get("notes") or ()]
        for stage, manifest in manifests.items()
    }
    scripts = _scripts(manifests.values(), models)
    notices = [_scripted_notice(scripts)] if scripts else []
    base = _base_model(manifests.get("train"))
    if base == "":
        reason = "" if not demo_model or demo_model.get("base") else demo_model.get("reason", "")
        notices.append(_from_scratch_notice(reason))
    told = [SCRIPT_NOTE]
    if ledger is not None and ledger.few_examples:
        notices.append(_few_examples_notice(ledger.few_examples))
        told.append(FEW_EXAMPLES_NOTE)
    if base:
        # A demo that was begun with one base may have gone on with another.
        known = demo_model if demo_model and demo_model.get("base") == base else {}
        name = known.get("name") or public_name(base)
        notices.append(_base_notice(name, _asked_models(manifests.get("infer"))))
    return (*notices, *_stage_notes(notes, told))


def _asked_models(manifest: Mapping[str, Any] | None) -> list[str]:
    """Return which of the run's models, ``base`` and ``tuned``, inference asked."""
    section: Any = ((manifest or {}).get("config") or {}).get("infer") or {}
    settings = section.get("settings") or () if isinstance(section, Mapping) else ()
    models = {str(one).partition("/")[0] for one in settings}
    return [name for name in ("base", "tuned") if name in models]


def _scripts(
    manifests: Iterable[Mapping[str, Any]], models: Mapping[str, Collection[str]]
) -> list[str]:
    """Return the roles in which a script answered, by the manifests or by its own account."""
    found = {role for role, names in models.items() if TEACHER_MODEL in names}
    for manifest in manifests:
        asked = manifest.get("models") or {}
        found |= {role for role, one in asked.items() if one["kind"] == "script"}
    return [role for role in get_args(Role) if role in found]


def _scripted_notice(roles: Sequence[str]) -> Notice:
    if "explorer" not in roles:
        names = " and ".join(role.replace("_", " ") for role in roles)
        return Notice(
            kind="caution",
            title=f"A script answered as {names}, not a language model",
            text=(
                "The scripted teacher that ships with ste-ray, a seeded program, was asked as "
                f"{names}; what it decided or wrote says nothing about a language model. "
                "Set STE_LLM_BASE_URL or OPENAI_API_KEY to ask one."
            ),
        )
    return Notice(
        kind="caution",
        title="A script explored, not a language model",
        text=(
            "Queries, calls, reflections, judgments and paraphrases come from the scripted teacher "
            "that ships with ste-ray: a seeded program that sees what a language model would see. "
            "Tools were really called and the model was really trained, so the pipeline's figures "
            "are real; they say nothing about how well a language model explores. The held-out "
            "queries are in the script's wording too: in other words a model may do worse. "
            "Set STE_LLM_BASE_URL or OPENAI_API_KEY to explore with one."
        ),
    )


def _from_scratch_notice(reason: str) -> Notice:
    why = f"The reason: {reason}. " if reason else ""
    return Notice(
        kind="caution",
        title="A tiny model, trained from scratch",
        text=(
            "No pretrained model was fine-tuned: the base model is a small Llama with random "
            f"weights, which knows nothing but this run's examples. {why}Such a model learns soon "
            "which tool to call and late to copy argument values from the query, so tool match "
            "runs far ahead of correct. Before training it is random; shares near zero are what "
            "that looks like."
        ),
    )


def _base_notice(name: str, asked: Sequence[str]) -> Notice:
    """Say which model was trained, and what its settings mean, of those that were asked."""
    texts = {
        "base": "settings that begin with 'base' are this model before training",
        "tuned": "settings that begin with 'tuned' are this model after training",
    }
    parts = [texts[one] for one in asked] or ["the run fine-tunes this model"]
    text = ", ".join(parts)
    return Notice(kind="note", title=f"Base model: {name}", text=f"{text[0].upper()}{text[1:]}.")


def _few_examples_notice(num_tools: int) -> Notice:
    which = "1 tool has" if num_tools == 1 else f"{num_tools} tools have"
    return Notice(
        kind="caution",
        title="Too few examples for some tools",
        text=f"{which} few examples to train or test on; their rows below say little. "
        "The data section names them, and the ledger says why queries were dropped; exploring "
        "more episodes of them gives more.",
    )


def _base_model(manifest: Mapping[str, Any] | None) -> str | None:
    """Return the base model of the training; empty: a built one; None: that is not known."""
    section: Any = (manifest or {}).get("config", {})
    section = section.get("train", section) if isinstance(section, Mapping) else {}
    model = section.get("model") if isinstance(section, Mapping) else None
    return str(model.get("base") or "") if isinstance(model, Mapping) else None


def _stage_notes(notes: Mapping[str, Sequence[str]], told: Sequence[str]) -> Iterable[Notice]:
    """Yield each distinct note of the stages, except those of which a notice tells already.

    Args:
        notes: of each stage.
        told: texts by which the latter are known.
    """
    seen: set[str] = set()
    for stage, stage_notes in notes.items():
        for note in stage_notes:
            if note not in seen and not any(one in note for one in told):
                seen.add(note)
                yield Notice(kind="note", title=f"Note of the {stage} stage", text=note)
