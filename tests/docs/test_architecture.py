"""What the documents say of rooms, layers, roles, kinds and a run's files is all there is."""

from __future__ import annotations

import re
import tomllib

from ste_ray.core import layout
from ste_ray.core.executor_specs import EXECUTOR_SPECS
from ste_ray.core.stages import STAGE_ROLES
from tests.docs.blocks import ROOT, blocks_of


def test_the_tree_of_the_readme_is_the_tree() -> None:
    (tree,) = [b.text for b in blocks_of(ROOT / "README.md") if b.text.startswith("ste_ray/\n")]
    rooms = {one for line in tree.splitlines() if line[0] == " " for one in _names(line)}
    tops = {one for line in tree.splitlines() if line[0] != " " for one in _names(line)}
    own = {path.parent.name for path in (ROOT / "ste_ray").glob("*/__init__.py")}
    assert rooms == own
    assert tops <= {path.name for path in ROOT.iterdir()}


def _names(line: str) -> list[str]:
    head = re.split(r"\s{2,}", line.strip())[0]
    return [name.strip("/") for name in head.split() if name.endswith("/")]


def test_the_architecture_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `ste_ray/")]
    named = " ".join(rows)
    folders = [path.parent for path in (ROOT / "ste_ray").glob("*/**/__init__.py")]
    assert [str(one.relative_to(ROOT)) for one in folders if f"{one.name}/`" not in named] == []
    stages = (ROOT / "ste_ray" / "stages").glob("*.py")
    files = [file.name for file in stages if file.name != "__init__.py"]
    assert [name for name in files if f"`{name}`" not in named] == []


def test_the_architecture_says_which_stage_asks_which_role() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([a-z]+)` \| ([a-z ]+) \|", page, re.MULTILINE)
    asked = [(stage, role.replace("_", " ")) for stage, of in STAGE_ROLES.items() for role in of]
    assert told == asked


def test_the_table_of_kinds_has_every_kind() -> None:
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    table = page[page.index("## Kinds of executors") :].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE)) == sorted(EXECUTOR_SPECS)


def test_contributing_names_every_folder_of_tests() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.parent for path in (ROOT / "tests").glob("*/**/*.py")}
    inner = {path.relative_to(ROOT / "tests").parts[0] for path in folders}
    assert [one for one in sorted(inner) if f"`tests/{one}`" not in page] == []


def laid_out() -> dict[str, set[str]]:
    """What lies directly below each folder of a run, as ``core.layout`` has it; capitals vary."""
    found: dict[str, set[str]] = {}
    for path in re.findall(r"^    (\S+/\S+)", layout.__doc__ or "", re.MULTILINE):
        folder, name, *inner = path.split("/")
        found.setdefault(folder, set()).add(f"{name}/" if inner else name)
    return found


def test_operations_has_all_that_a_run_holds() -> None:
    (tree,) = [b.text for b in blocks_of(ROOT / "docs/operations.md") if "RUN/explore/" in b.text]
    told = {
        stage: set(re.findall(r"(?<![\w/-])[\w-]+(?:/|\.jsonl?\b)", text))
        for stage, text in re.findall(r"^RUN/(\w+)/((?:.|\n +)+)", tree, re.MULTILINE)
    }
    common = {"started.json", "failure.json", "imported.json"}  # told below the tree
    of_stages = {name for name in laid_out()["STAGE"] if name not in common | {"models.json"}}
    for stage, names in laid_out().items():
        if stage == "STAGE":
            continue
        if stage != "update":  # which is no stage
            names |= of_stages | ({"models.json"} if stage in STAGE_ROLES else set())
        if stage == "continual":
            names = (names - {"VARIANT/", "round-NN/"}) | {"round-00/", "replay/", "no_replay/"}
        assert told[stage] == names, stage


def test_the_layers_stand_in_the_order_that_is_enforced() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in contracts if "ste_ray.core" in one.get("layers", ())]
    for page in ("docs/architecture.md", "CONTRIBUTING.md"):
        drawing = next(b.text for b in blocks_of(ROOT / page) if "stages" in b.text)
        places = []
        for layer in contract["layers"]:
            names = [one.strip().removeprefix("ste_ray.") for one in layer.split("|")]
            found = [match.start() for name in names if (match := _word(name).search(drawing))]
            assert len(found) == len(names), (page, layer)
            places.append((min(found), max(found)))
        ends = [end for pair in places for end in pair]
        assert ends == sorted(ends), page


def test_ray_is_refused_everywhere_but_in_the_stages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in contracts if one.get("forbidden_modules") == ["ray"]]
    here = (ROOT / "ste_ray").iterdir()
    modules = {one.stem for one in here if one.suffix == ".py" or (one / "__init__.py").is_file()}
    without = {one.removeprefix("ste_ray.") for one in contract["source_modules"]}
    assert without == modules - {"stages", "__init__", "__main__"}


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w/]){name}(?![\w])|(?<=ste_ray/){name}(?![\w])")
