"""What docstrings and comments quote, as ``core.limits.rates`` or ``tools/spec``, is there.

A quoted word must occur in the code, a dotted name must lead to a module, a class or a key of the
configuration, and a path to a file, be it the project's or a run's.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ste_ray.config import Config
from tests.docs.blocks import ROOT
from tests.docs.test_documents import key_problem

PRODUCT = ROOT / "ste_ray"
FOLDERS = (PRODUCT, ROOT / "jobs", ROOT / "tests")
_QUOTED = re.compile(r"``([^`\n]+)``")
_WORD = re.compile(r"[A-Za-z_]\w*")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_PATH = re.compile(r"[\w.-]*[a-z][\w.-]*(?:/[\w.-]+)+/?|[\w.-]+/")
_FILE = re.compile(r"[\w.-]+\.(?:json|jsonl|yaml|html|parquet|py|md)")
# Names of libraries and other programs that no code here has.
FOREIGN = {
    # transformers
    "LogitsProcessor", "StopStringCriteria", "split_special_tokens", "generation_config.json",
    "TfidfVectorizer", "datasets", "Client.call_tool",  # scikit-learn, datasets, mcp
    "GOOGLE_APPLICATION_CREDENTIALS", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",  # read by clients
    "OPENAI_ORG_ID", "OPENAI_API_VERSION",  # read by the openai SDK
    "invalid_argument", "INVALID_ARGUMENT", "model_length", "SAFETY", "guardrail_intervened",
    "STE/main.py", "toolenv/tools",  # the published study's, ToolBench's
    "openai/", "models/",  # before models' names
}  # fmt: skip
# Placeholders, and values that an explanation makes up.
INVENTED = {
    "NNNNN", "VARIANT", "bucket/prefix", "configuration/split", "folder/part-NNNNN.parquet",
    "train.jsonl", "validation.jsonl", "test.jsonl",  # of splits
    "wanted_2", "wanted_3", "french", "spanish", "server__tool", "h0", "service.test", "API_KEY",
}  # fmt: skip


@dataclass(frozen=True)
class Quoted:
    """A name in a docstring or comment."""

    file: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.name}"


@dataclass(frozen=True)
class Source:
    """A Python file, and what it says of itself."""

    file: Path
    tree: ast.Module
    documented: dict[int, tuple[int, str]]  # by the id of its node: line and text

    def quoted(self) -> Iterator[Quoted]:
        """Yield the names in docstrings and comments; of a call, what is called."""
        texts = list(self.documented.values())
        with io.StringIO(self.file.read_text(encoding="utf-8")) as source:
            tokens = tokenize.generate_tokens(source.readline)
            texts += [(one.start[0], one.string) for one in tokens if one.type == tokenize.COMMENT]
        for line, text in texts:
            for match in _QUOTED.finditer(text):
                name = re.sub(r"\(.*\)$", "", match.group(1))
                yield Quoted(self.file, line + text[: match.start()].count("\n"), name)

    def words(self) -> set[str]:
        """Return the words of the code: names, and those in texts that are no docstrings."""
        found = {"__name__"}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in self.documented:
                    found.update(re.findall(r"\w+", node.value), _FILE.findall(node.value))
                continue
            for field in ("id", "attr", "name", "arg", "module", "asname"):
                if isinstance(value := getattr(node, field, None), str):
                    found.update(value.split("."))
        return found


@functools.cache
def sources() -> dict[Path, Source]:
    found = {}
    for file in sorted(one for folder in FOLDERS for one in folder.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        documented = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0] if node.body else None
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    text = str(first.value.value)
                    documented[id(first.value)] = (first.lineno, text)
        found[file] = Source(file, tree, documented)
    return found


@functools.cache
def words_of(folder: Path) -> frozenset[str]:
    """The words of the code below ``folder``, of its data and of what is shipped beside it."""
    found = {
        one
        for file, source in sources().items()
        if folder in file.parents
        for one in source.words()
    }
    for data in (PRODUCT, ROOT / "tool_metadata", ROOT / "prompts"):
        for file in data.rglob("*"):
            if file.suffix in {".yaml", ".json", ".md", ".txt", ".html", ".js"}:
                found.update(re.findall(r"\w+", file.read_text(encoding="utf-8")))
    return frozenset(found)


@functools.cache
def classes() -> dict[str, frozenset[str]]:
    """What each class has by itself, by the class's name; those of one name together."""
    found: dict[str, set[str]] = {}
    for source in sources().values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(_held(node))
    return {name: frozenset(held) for name, held in found.items()}


def _held(node: ast.Module | ast.ClassDef) -> set[str]:
    """The names that a module or class holds, those that its methods put on ``self`` included."""
    held: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            held.add(one.attr)
    for one in node.body:
        if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            held.add(one.name)
        elif isinstance(one, ast.AnnAssign | ast.Assign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            held |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(one, ast.Import | ast.ImportFrom):
            held |= {alias.asname or alias.name for alias in one.names}
    return held


def _module(base: Path, parts: list[str]) -> tuple[Path | None, list[str]]:
    """Follow ``parts`` from the folder ``base``: the module reached, and what is left."""
    place = base
    for index, part in enumerate(parts):
        if (place / f"{part}.py").is_file():
            return place / f"{part}.py", parts[index + 1 :]
        if not (place / part).is_dir():
            inside = place / "__init__.py"
            return (inside if index and inside.is_file() else None), parts[index:]
        place /= part
    return (place if any(place.iterdir()) else None), []


def _leads(found: Path, rest: list[str]) -> bool:
    if not rest:
        return True
    source = sources()[found]
    return rest[0] in _held(source.tree) and (len(rest) == 1 or _of_class(*rest[:2]))


def _of_class(name: str, attribute: str) -> bool:
    return attribute in classes().get(name, ())


def _installed(name: str) -> bool:
    """Whether ``name`` is a library: not a test's file, whose folder pytest puts on the path."""
    found = importlib.util.find_spec(name)
    origin = Path(found.origin) if found is not None and found.origin is not None else None
    return found is not None and not (origin is not None and ROOT / "tests" in origin.parents)


def dotted_problem(name: str, file: Path) -> bool:
    """Whether ``name``, quoted in ``file``, leads nowhere."""
    parts = name.split(".")
    if parts[0] in Config.model_fields and not key_problem(name):
        return False
    owners = [one for one in file.parents if one == ROOT or ROOT in one.parents]
    reached = [_module(base, parts) for base in (*owners, PRODUCT)]
    known = [(module, rest) for module, rest in reached if module is not None]
    if any(_leads(module, rest) for module, rest in known):
        return False
    if (PRODUCT / parts[0]).is_dir() or (PRODUCT / f"{parts[0]}.py").is_file():
        return True
    if parts[0] in classes():
        return not _of_class(parts[0], parts[1])
    if parts[0] in FOREIGN or _installed(parts[0]):
        return False
    # A parameter: something here is called so, and something has what it is said to have.
    anywhere = any(parts[-1] in held for held in classes().values())
    return not (anywhere and parts[0] in sources()[file].words())


def path_problem(name: str, file: Path) -> bool:
    """Whether ``name``, quoted in ``file``, is neither in the project nor in a run."""
    bases = [one for one in file.parents if one == ROOT or ROOT in one.parents]
    if any((base / name).exists() for base in (*bases, PRODUCT)):
        return False
    layout = ast.get_docstring(sources()[PRODUCT / "core" / "layout.py"].tree) or ""
    if name.rstrip("/") in layout:
        return False
    generic = name.replace("STAGE", "train")
    return not ((ROOT / generic).exists() or "NAME" in name)


def problem(quoted: Quoted) -> bool:
    name, file = quoted.name, quoted.file
    if name in FOREIGN | INVENTED:
        return False
    folder = PRODUCT if PRODUCT in file.parents else ROOT
    if _FILE.fullmatch(name) and "/" not in name:
        named = {one.name for one in sources()} | words_of(folder)
        return name not in named and path_problem(name, file) and "NAME" not in name
    if _WORD.fullmatch(name):
        return name not in words_of(folder)
    if _DOTTED.fullmatch(name):
        return dotted_problem(name, file)
    return bool(_PATH.fullmatch(name)) and path_problem(name, file)


def test_what_docstrings_and_comments_quote_is_there() -> None:
    quoted = [one for source in sources().values() for one in source.quoted()]
    assert len(quoted) > 1000
    lost = [str(one) for one in quoted if problem(one)]
    assert lost == [], "\n".join(lost)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("core.cutting", False), ("core.texts.cutting", True),
        ("core.texts.cutting.cut_result", True), ("core.texts.cutting.cut_results", False),
        ("config.STAGES", False), ("core.stages.STAGES", True),
        ("explore.max_turns", True), ("explore.max_turn", False),
        ("Setting.folder_name", True), ("Setting.folder_names", False),
        ("check_pool", False), ("pool", True), ("spec.timeout_seconds", True),
        ("spec.nothing", False), ("ray.data.read_parquet", True), ("prepare/ledger", True),
        ("prepare/fates", False),
        ("tools/run/opening.py", True), ("tools/opening.py", False), ("totals.json", True),
        ("total.json", False),
    ],
)  # fmt: skip
def test_names_are_judged(name: str, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(
        ROOT / "tests" / "bench"
    )  # as pytest does for the tests there; explore.py is in it
    assert problem(Quoted(PRODUCT / "tools" / "run" / "executor.py", 1, name)) is not right
