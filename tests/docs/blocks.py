"""The fenced blocks of README.md and docs/*.md, and what the comment above each says of its test.

Above a block of commands (``bash``) stands ``<!-- run: WORDS -->``. The words:

- none (``<!-- run -->``): the commands run as they stand, in a scratch copy of a checkout.
- ``endpoint``: the same, with ``STE_LLM_BASE_URL`` at a served scripted teacher.
- ``after STAGE``: the run that the commands name is complete up to that stage;
  ``after rounds``: prepared in rounds.
- ``first``: the run that others go on from; it is made once.
- ``serve``: the last command serves until it is ended; it must answer over HTTP.
- ``slow``: runs with the tests that are marked slow.
- ``parse``: needs a cluster, containers, GPUs or the network; its arguments are checked.

Above a block of ``yaml`` or ``python`` stands ``<!-- check: configuration -->``, ``<!-- check:
workflow -->`` (of GitHub Actions), ``<!-- check: tool file NAME -->`` or ``<!-- check: python NAME
-->``; commands find the named file in their folder.
``text`` blocks are drawings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^\s*```(.*)$")
_MARK = re.compile(r"^<!-- (run|check)(?:: (.+?))? -->$")
_FLAGS = {"endpoint", "first", "serve", "slow", "parse"}
_STAGES = ("explore", "prepare", "rounds", "retrieve", "train", "infer", "evaluate")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        place: the file and line of its opening fence.
        language: what stands behind the fence.
        text: its lines.
        mark: the comment above it, ``run`` or ``check``; empty: none.
        words: what that comment says.
    """

    place: str
    language: str
    text: str
    mark: str
    words: str

    @property
    def flags(self) -> frozenset[str]:
        """How the commands are tested."""
        return frozenset(self._tokens()) & _FLAGS

    @property
    def after(self) -> str:
        """The stage up to which the run is complete; empty: there is no run."""
        tokens = self._tokens()
        return tokens[tokens.index("after") + 1] if "after" in tokens else ""

    @property
    def undecided(self) -> str:
        """What is wrong with the comment above the block; empty: nothing."""
        if self.language == "text":
            return ""
        wanted = {"bash": "run", "yaml": "check", "python": "check"}.get(self.language)
        if wanted is None:
            return f"the language {self.language!r} is none of bash, yaml, python, text"
        if self.mark != wanted:
            return f"a {self.language} block needs '<!-- {wanted}… -->' in the line above it"
        if wanted == "check":
            known = re.fullmatch(r"(tool file|python) \S+|configuration|workflow", self.words)
            return "" if known else f"unknown check {self.words!r}"
        left = " ".join(one for one in self._tokens() if one not in _FLAGS)
        if left and not re.fullmatch(f"after ({'|'.join(_STAGES)})", left):
            return f"unknown words {left!r}"
        return "" if self.flags <= {"parse"} or "parse" not in self.flags else "parse stands alone"

    def _tokens(self) -> list[str]:
        return re.split(r"[\s;,]+", self.words) if self.words else []


def blocks_of(document: Path) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    found: list[Block] = []
    lines = document.read_text(encoding="utf-8").splitlines()
    opened: int | None = None
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if not fence:
            continue
        if opened is None:
            opened = number
            continue
        place = f"{document.relative_to(ROOT)}:{opened + 1}"
        mark = _MARK.match(lines[opened - 1]) if opened else None
        kind, words = (mark.group(1), mark.group(2) or "") if mark else ("", "")
        language = lines[opened].strip().removeprefix("```")
        text = "\n".join(lines[opened + 1 : number]) + "\n"
        found.append(Block(place, language, text, kind, words))
        opened = None
    assert opened is None, f"{document}:{opened}: the block is not closed"
    return found


def all_blocks() -> list[Block]:
    """Return the blocks of all documents."""
    return [block for document in DOCUMENTS for block in blocks_of(document)]


def prose_of(document: Path) -> str:
    """Return a document without its fenced blocks, its lines kept in place."""
    lines, inside = [], False
    for line in document.read_text(encoding="utf-8").splitlines():
        fence = bool(_FENCE.match(line))
        lines.append("" if inside or fence else line)
        inside ^= fence
    return "\n".join(lines)
