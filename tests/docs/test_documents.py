"""What the documents say of links, keys, paths and commands is so."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from ste_ray.cli.main import argument_parser
from ste_ray.config import Config, load_config
from ste_ray.tools.spec.files import read_tool_files
from tests.docs.blocks import DOCUMENTS, ROOT, Block, all_blocks, blocks_of, prose_of

PAGES = (*DOCUMENTS, ROOT / "CONTRIBUTING.md")
BLOCKS = all_blocks()
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def ids(one: Any) -> str:
    return one.place if isinstance(one, Block) else str(one.relative_to(ROOT))


def checked(check: str) -> list[Block]:
    return [block for block in BLOCKS if block.mark == "check" and block.words.startswith(check)]


def test_the_readme_is_short_and_no_page_is_long() -> None:
    lines = {ids(page): len(page.read_text(encoding="utf-8").splitlines()) for page in DOCUMENTS}
    assert lines.pop("README.md") <= 150
    lines.pop("docs/configuration.md", None)  # generated: as long as there are keys
    assert {page: count for page, count in lines.items() if count > 250} == {}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_no_line_of_prose_is_long(page: Path) -> None:
    lines = [] if page.name == "configuration.md" else prose_of(page).splitlines()
    assert [line for line in lines if len(line) > 142 and not line.startswith("|")] == []


@pytest.mark.parametrize("block", BLOCKS, ids=ids)
def test_every_block_says_how_it_is_tested(block: Block) -> None:
    assert not block.undecided, f"{block.place}: {block.undecided}"


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one).strip().lower() for one in headings)
    made = [re.sub(r"[^\w\- ]", "", one).replace(" ", "-") for one in plain]
    assert len(set(made)) == len(made), f"{page.name}: two headings are the same"
    return frozenset(made)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose_of(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link!r} leads to no file"
        assert not anchor or anchor in anchors(target), f"{link!r}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in DOCUMENTS[1:]} <= {
        link.partition("#")[0] for link in linked
    }


def test_the_picture_is_small_enough_to_load() -> None:
    picture = (ROOT / "docs/images/report.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) <= 300 * 1024


@pytest.mark.parametrize(
    "term",
    ["trial", "episode", "short-term memory", "long-term memory", "exploration", "exploitation",
     "execution feedback", "self-reflection", "ablation", "in-context learning", "ICL", "toolken",
     "demonstration", "paraphrase", "continual learning", "experience replay", "forgetting",
     "wellformed", "API match", "correctness"],
)  # fmt: skip
def test_each_term_of_the_paper_is_in_the_glossary(term: str) -> None:
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    assert any(term in one for one in terms), term


def key_problem(key: str) -> str:
    """Why ``key`` is no key of the configuration; empty: it is one."""
    model: Any = Config
    for part in key.split("."):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return ""  # below a mapping, anything goes
        if part not in model.model_fields:
            return f"{key!r}: {model.__name__} has no {part!r}"
        annotation = model.model_fields[part].annotation
        model = next((one for one in (annotation, *get_args(annotation)) if _is_model(one)), None)
        if annotation is not None and not _is_model(annotation):
            model = None
    return ""


def _is_model(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, BaseModel)


SECTIONS = "|".join(name for name in Config.model_fields if name != "seed")
_KEY = re.compile(rf"(?<![\w./-])((?:{SECTIONS})\.[a-z_]+(?:\.[a-z_]+)*)(?![\w./*-]|\.[a-z])")
_FILES = re.compile(r"\.(yaml|json|jsonl|html|py|md)$")


def keys_in(text: str) -> set[str]:
    return {key for key in _KEY.findall(text) if not _FILES.search(key)}


def keys_of_tables(page: Path) -> set[str]:
    """The keys in columns that are headed by their section, as in "option (`train.…`)"."""
    found: set[str] = set()
    column, section = -1, ""
    for line in prose_of(page).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        headed = [re.search(r"\(`([a-z]+)\.…`\)", cell) for cell in cells]
        if any(headed):
            column = next(i for i, one in enumerate(headed) if one)
            section = headed[column].group(1)  # type: ignore[union-attr]
        elif not cells:
            column = -1
        elif column >= 0 and not set(cells[0]) <= {"-", " "}:
            for option in cells[column].split(";"):
                names = _CODE.findall(option.partition(":")[0])
                found |= {f"{section}.{name.removesuffix('.…')}" for name in names}
    return found


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_key_of_the_configuration_exists(page: Path) -> None:
    text = " ".join(_CODE.findall(prose_of(page)))
    commands = " ".join(block.text for block in blocks_of(page) if block.language == "bash")
    keys = keys_in(text) | keys_in(commands) | keys_of_tables(page)
    assert [problem for key in sorted(keys) if (problem := key_problem(key))] == []


def test_keys_are_found_and_judged() -> None:
    text = "`explore.max_turns=3` 'llm.judge.model=x' explore.py jobs/train.py prepare/totals.json"
    assert keys_in(text) == {"explore.max_turns", "llm.judge.model"}
    assert key_problem("explore.max_turn") == "'explore.max_turn': ExploreConfig has no 'max_turn'"
    assert not key_problem("llm.prices.my-model")
    assert "prepare.mix" in keys_of_tables(ROOT / "docs" / "data.md")
    assert "prepare.same_call" not in keys_of_tables(ROOT / "docs" / "data.md")
    assert "train.num_workers" in keys_of_tables(ROOT / "docs" / "training.md")


ROOMS = {path.name for path in (ROOT / "ste_ray").iterdir() if path.is_dir()}
TOP = {path.name for path in ROOT.iterdir()}


def paths_in(text: str) -> set[str]:
    """The paths of the project that inline code names; those of a run are none."""
    found = set()
    for code in _CODE.findall(text):
        name = code.split()[0] if code.startswith(("python ", "pytest ")) else code
        first = name.partition("/")[0]
        name = name.replace("NAME", "local")  # any overlay
        if "/" in name and re.fullmatch(r"[\w./-]+", name) and first in TOP | ROOMS:
            found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_path_of_the_project_exists(page: Path) -> None:
    lost = [
        name
        for name in sorted(paths_in(prose_of(page)))
        if not ((ROOT / name).exists() or (ROOT / "ste_ray" / name).exists())
    ]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_module_exists(page: Path) -> None:
    for name in re.findall(r"\bste_ray(?:\.[a-z_0-9]+)+", page.read_text(encoding="utf-8")):
        path = ROOT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_variable_of_the_environment_is_read_somewhere(page: Path) -> None:
    sources = "\n".join(
        file.read_text(encoding="utf-8")
        for folder, ending in (("ste_ray", "*.py"), ("k8s", "*.*"), ("docker", "*.*"))
        for file in (ROOT / folder).rglob(ending)
    )
    named = set(re.findall(r"\bSTE_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8")))
    assert {name for name in named if name not in sources} == set()


def subcommands(parser: Any) -> dict[str, Any]:
    actions = [one for one in parser._actions if one.__class__.__name__ == "_SubParsersAction"]
    return dict(actions[0].choices) if actions else {}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_and_target_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for code in _CODE.findall(prose_of(page)):
        words = code.replace("\\|", "|").split()
        if words[0] == "make" and len(words) > 1 and "…" not in code:
            assert f"\n{words[1]}:" in makefile, code
        known = subcommands(argument_parser())
        if " ".join(words[1:3]) in known:  # a command of two words
            continue
        for word in words[1:] if words[0] == "ste-ray" else []:
            if word == "|":
                continue
            if not re.fullmatch(r"[a-z][a-z-]*", word) or not known:
                break
            assert word in known, f"{code!r}: no command {word!r}"
            inner = subcommands(known[word])
            known = inner or known


def test_operations_has_every_command() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page[page.index("## Commands") : page.index("## Exit codes")]
    for name, parser in subcommands(argument_parser()).items():
        assert re.search(rf"\b{name}\b", table), name
        for inner in subcommands(parser):
            assert re.search(rf"\b{inner}\b", table), f"{name} {inner}"


def test_every_source_of_an_import_is_told_with_a_command() -> None:
    sources = subcommands(subcommands(subcommands(argument_parser())["tools"])["import"])
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `ste-ray tools import ([^`]+) SOURCE", page, re.MULTILINE)
    assert row.split(" \\| ") == list(sources)
    commands = "".join(block.text for block in blocks_of(ROOT / "docs" / "tools.md"))
    assert re.findall(r"ste-ray tools import (\w+) ", commands) == list(sources)


@pytest.mark.parametrize("block", checked("tool file"), ids=ids)
def test_tool_files_are_read(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in checked("python"):
        module = tmp_path / other.words.removeprefix("python ")
        module.parent.mkdir(exist_ok=True)
        module.write_text(other.text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "tools.yaml"
    file.write_text(block.text, encoding="utf-8")
    specs = read_tool_files([str(file)], shipped=ROOT / "tool_metadata").specs
    assert len(specs) == len(yaml.safe_load(block.text)["tools"])


@pytest.mark.parametrize("block", checked("configuration"), ids=ids)
def test_configurations_are_read(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(block.text, encoding="utf-8")
    load_config(str(file), [])


@pytest.mark.parametrize("block", checked("python"), ids=ids)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


def test_documents_come_with_the_source_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "docs" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
