"""The commands in a block: one by one, and where they cannot be run here, their arguments held
against what they name."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from ste_ray.cli.main import parse_arguments
from ste_ray.config import load_config
from ste_ray.core.stages import STAGES
from ste_ray.training.tool_parser import TOOL_PARSER_FILE
from tests.docs.blocks import ROOT

KUSTOMIZED = ("k8s/overlays/local", "k8s/overlays/serve", "k8s/jobs/local")
_RUNNING = (*STAGES, "continual", "pipeline", "update", "demo")
_SUBSTITUTION = re.compile(r"\$\([^()]*\)")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        program: the last part of its path.
        arguments: what follows.
    """

    program: str
    arguments: tuple[str, ...]

    @property
    def stage(self) -> str:
        """The stage that is really run, or ``pipeline`` or ``demo``; empty: none."""
        asks = {"--estimate", "--dry-run", "--replay", "--predictions"} & set(self.arguments)
        first = self.arguments[0] if self.arguments else ""
        if (self.program, first) == ("make", "demo"):
            return first
        return first if self.program == "ste-ray" and first in _RUNNING and not asks else ""

    def option(self, name: str) -> str:
        """The value of an option; empty: it is not given."""
        if name not in self.arguments:
            return ""
        return self.arguments[self.arguments.index(name) + 1]


def commands_of(text: str) -> list[Command]:
    """Split a block into its commands, without assignments, comments and ``&``."""
    found = []
    for line in _SUBSTITUTION.sub("x", text.replace("\\\n", " ")).splitlines():
        for part in re.split(r"&&|&\s*$", line):
            words = shlex.split(part, comments=True)
            if words and words[0] == "export":
                continue
            while words and _ASSIGNMENT.match(words[0]):
                words = words[1:]
            if words:
                found.append(Command(words[0].rpartition("/")[2], tuple(words[1:])))
    return found


def check_arguments(command: Command) -> None:
    """Hold a command that cannot be run here against what it names."""
    checks = {
        "ste-ray": _check_ste_ray,
        "python": _check_python,
        "torchrun": _check_torchrun,
        "ray": _check_ray,
        "kubectl": _check_kubectl,
        "docker": _check_docker,
        "kind": _check_kind,
        "helm": _check_helm,
        "make": _check_make,
        "vllm": _check_vllm,
    }
    assert command.program in checks, f"nothing checks {command.program!r}; add how"
    checks[command.program](command.arguments)


def _check_ste_ray(arguments: tuple[str, ...]) -> None:
    options = parse_arguments(list(arguments))
    if hasattr(options, "overrides"):
        assert options.config is None or (ROOT / options.config).is_file()
        load_config(options.config and str(ROOT / options.config), options.overrides)


def _check_python(arguments: tuple[str, ...]) -> None:
    script = ROOT / arguments[0]
    assert script.is_file(), script
    _check_ste_ray((script.stem, *arguments[1:]))


def _check_torchrun(arguments: tuple[str, ...]) -> None:
    at = arguments.index("-m")
    assert arguments[:at] == ("--nproc-per-node", "8")
    module = ROOT / arguments[at + 1].replace(".", "/")
    assert module.with_suffix(".py").is_file()
    run, *others = arguments[at + 2 :]
    _check_ste_ray(("train", "--run", run, *others))


def _check_ray(arguments: tuple[str, ...]) -> None:
    before, after = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    assert before[:2] == ("job", "submit")
    help_text = _output(str(Path(sys.executable).parent / "ray"), "job", "submit", "--help")
    assert all(option in help_text for option in before if option.startswith("--"))
    assert after[0] == "python"
    _check_python(after[1:])


def _check_vllm(arguments: tuple[str, ...]) -> None:
    # vLLM is not installed here: these options are those that the tests of the parser rest on.
    command, folder, *options = arguments
    assert command == "serve"
    assert not folder.startswith("-")
    names = {one for one in options if one.startswith("--")}
    parser = {"--enable-auto-tool-choice", "--tool-call-parser"}
    assert parser <= names <= parser | {"--tool-parser-plugin", "--served-model-name"}
    if "--tool-parser-plugin" in names:
        plugin = options[options.index("--tool-parser-plugin") + 1]
        assert plugin == f"{folder}/{TOOL_PARSER_FILE}"


def _check_kubectl(arguments: tuple[str, ...]) -> None:
    kubectl = shutil.which("kubectl")
    words = [one for one in arguments if one not in ("-n", "ste-ray")]
    if words[0] == "create" and kubectl:
        _output(kubectl, *arguments, "--dry-run=client", "-o", "name")
    elif words[0] == "apply":
        assert words[1] == "-k"
        documents = _rendered(words[2])
        if "-l" in words:
            key, _, value = words[words.index("-l") + 1].partition("=")
            labels = [one["metadata"].get("labels", {}).get(key) for one in documents or ()]
            assert documents is None or value in labels
    elif words[0] in ("get", "logs", "port-forward", "delete"):
        _check_names(words)
        if kubectl:
            _output(kubectl, *words, "--help")
    else:
        assert words[0] == "create", f"nothing checks 'kubectl {words[0]}'; add how"


def _check_names(words: list[str]) -> None:
    """The objects that are named are those that the manifests make."""
    kinds = {"svc": "Service", "job": "RayJob", "rayjob": "RayJob"}
    pairs = [one.split("/") for one in words if one.partition("/")[0] in kinds and "/" in one]
    if words[0] == "delete":
        pairs.append(words[1:3])
    for kind, name in pairs:
        rendered = [_rendered(folder) for folder in KUSTOMIZED]
        if any(one is None for one in rendered):
            return
        made = {
            (one["kind"], one["metadata"]["name"])
            for documents in rendered
            for one in documents or ()
        }
        # KubeRay makes the head's service, after the cluster's name.
        made |= {("Service", f"{n}-head-svc") for k, n in made if k == "RayCluster"}
        made |= {("Service", f"{n}-serve-svc") for k, n in made if k == "RayService"}
        assert (kinds[kind], name) in made, (kind, name)


@functools.cache
def _rendered(folder: str) -> list[dict] | None:  # type: ignore[type-arg]
    """The documents of a folder; None: ``kubectl``, which renders them, is not installed."""
    assert (ROOT / folder / "kustomization.yaml").is_file(), folder
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        return None
    return [one for one in yaml.safe_load_all(_output(kubectl, "kustomize", folder)) if one]


def _check_docker(arguments: tuple[str, ...]) -> None:
    assert arguments[0] == "build"
    given = dict(zip(arguments[1:-1:2], arguments[2:-1:2], strict=True))
    dockerfile = (ROOT / given["-f"]).read_text(encoding="utf-8")
    assert re.search(rf"^FROM .+ AS {given['--target']}$", dockerfile, re.MULTILINE | re.IGNORECASE)
    assert given["-t"] in (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")


def _check_kind(arguments: tuple[str, ...]) -> None:
    assert arguments[:2] in (("create", "cluster"), ("load", "docker-image"))
    if arguments[0] == "load":
        assert arguments[2] in (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")


def _check_helm(arguments: tuple[str, ...]) -> None:
    assert arguments[0] in ("repo", "install")
    if arguments[0] == "install":
        version = arguments[arguments.index("--version") + 1]
        page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
        assert f"(v{version})" in page


def _check_make(arguments: tuple[str, ...]) -> None:
    target, *settings = arguments
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rule = re.search(rf"^{target}:.*\n\t(.+)$", makefile, re.MULTILINE)
    assert rule, f"the Makefile has no {target!r}"
    script = next(word for word in rule.group(1).split() if word.endswith(".py"))
    source = (ROOT / script).read_text(encoding="utf-8")
    for setting in settings:
        name, _, parts = setting.partition("=")
        assert f"$({name})" in rule.group(1)
        words = [part for part in parts.split() if not part.isdigit()]  # numbers are anyone's
        assert [word for word in words if f'"{word}"' not in source] == []


def _output(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=Path(ROOT)
    )
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout
